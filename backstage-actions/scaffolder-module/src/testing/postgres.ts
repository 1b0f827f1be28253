/**
 * A PostgreSQL server for one test file, from Debian's package or whatever is on the PATH.
 * For tests only.
 */
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';

const DEBIAN = '/usr/lib/postgresql';

/** Starts a server with its files in `folder`; it listens on a socket there, on no port. */
export function startPostgres(folder: string): {
  database: object;
  stop: () => void;
} {
  const data = path.join(folder, 'postgres');
  mkdirSync(data, { mode: 0o755 });
  const user = process.getuid?.() === 0 ? idOf('postgres') : undefined;
  if (user !== undefined) {
    chownSync(data, user, -1);
  }
  const run = (program: string, ...args: string[]) =>
    execFileSync(locate(program), args, {
      cwd: data,
      stdio: 'ignore',
      ...(user !== undefined && { uid: user, gid: user }),
    });
  const cluster = path.join(data, 'cluster');
  run('initdb', '-D', cluster, '-U', 'postgres', '-A', 'trust', '--no-sync');
  const options = `-c listen_addresses= -c unix_socket_directories=${data} -c fsync=off`;
  run(
    'pg_ctl',
    '-D',
    cluster,
    '-o',
    options,
    '-l',
    `${data}/log`,
    '-w',
    'start',
  );
  return {
    database: { client: 'pg', connection: { host: data, user: 'postgres' } },
    stop: () => run('pg_ctl', '-D', cluster, '-m', 'immediate', 'stop'),
  };
}

function idOf(name: string): number {
  return Number(execFileSync('id', ['-u', name]).toString());
}

function locate(program: string): string {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN) : [];
  const files = versions.map(v => path.join(DEBIAN, v, 'bin', program));
  return files.find(existsSync) ?? program;
}
