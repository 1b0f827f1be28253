/** A Backstage backend that is killed in the middle of a run, and started again. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { SUCCEEDED } from './testing/bridge';
import { BridgeServer } from './testing/bridgeServer';
import { followTask, linesOf, TEMPLATE } from './testing/tasks';

const TOKEN = 'token-of-the-test';
let folder: string;
let bridge: BridgeServer;
let child: ChildProcess | undefined;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'killed-'));
  bridge = new BridgeServer();
});

afterEach(async () => {
  await killBackend();
  await bridge.stop();
  await rm(folder, { recursive: true });
});

async function killBackend(): Promise<void> {
  if (child && child.exitCode === null && child.signalCode === null) {
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts the backend and waits until its scaffolder answers. */
async function startBackend(port: number, bridgeUrl: string): Promise<string> {
  const baseUrl = `http://127.0.0.1:${port}`;
  const data = {
    app: { baseUrl },
    backend: {
      baseUrl,
      listen: { host: '127.0.0.1', port },
      workingDirectory: folder,
      database: {
        client: 'better-sqlite3',
        connection: { directory: path.join(folder, 'db') },
      },
      auth: {
        externalAccess: [
          { type: 'static', options: { token: TOKEN, subject: 'test' } },
        ],
      },
    },
    scaffolder: {
      taskRecovery: { enabled: true, staleTimeout: { seconds: 1 } },
    },
    argoBridge: { baseUrl: bridgeUrl },
  };
  const backend = spawn(
    process.execPath,
    [path.join(__dirname, 'testing', 'backend.cjs')],
    {
      env: {
        ...process.env,
        NODE_ENV: 'development',
        BACKEND: JSON.stringify({ data, entities: [TEMPLATE] }),
      },
      stdio: 'ignore',
    },
  );
  child = backend;
  for (;;) {
    expect(backend.exitCode).toBeNull();
    const answer = await call(baseUrl, '/v2/actions').catch(() => undefined);
    if (answer?.ok) {
      return baseUrl;
    }
    await sleep(100); // the next look; what is waited for is the answer
  }
}

function call(baseUrl: string, route: string, body?: object) {
  return fetch(`${baseUrl}/api/scaffolder${route}`, {
    method: body ? 'POST' : 'GET',
    headers: {
      authorization: `Bearer ${TOKEN}`,
      'content-type': 'application/json',
    },
    body: body ? JSON.stringify(body) : null,
  });
}

/** Waits until the task's checkpoints say that the lines up to `after` are printed. */
async function placeIsNoted(after: number): Promise<void> {
  const file = path.join(folder, 'db', 'scaffolder.sqlite');
  const database = new DatabaseSync(file, { readOnly: true });
  // The backend writes to the same file; a look waits for its lock instead of failing.
  database.exec('PRAGMA busy_timeout = 5000');
  try {
    for (;;) {
      const row = database.prepare('SELECT state FROM tasks').get();
      if (String(row?.state).includes(`"after":${after}}`)) {
        return;
      }
      await sleep(100); // the next look; what is waited for is the checkpoint
    }
  } finally {
    database.close();
  }
}

it('takes its run up again: one run, no line lost and none repeated', async () => {
  const bridgeUrl = await bridge.start();
  const port = await freePort();
  const baseUrl = await startBackend(port, bridgeUrl);
  bridge.onRun = id => bridge.print(id, 'line 1');
  const started = await call(baseUrl, '/v2/tasks', {
    templateRef: 'template:default/namespace',
    values: { name: 'team-a' },
  });
  const { id } = (await started.json()) as { id: string };
  const route = `/v2/tasks/${id}/eventstream`;
  await followTask(await call(baseUrl, route), line =>
    line.includes('line 1') ? 'stop' : 'go on',
  );

  await placeIsNoted(1);
  await killBackend();
  bridge.print('run-1', 'line 2');
  await startBackend(port, bridgeUrl);
  const events = await followTask(await call(baseUrl, route), line => {
    if (line.includes('line 2')) {
      bridge.end('run-1', 'line 3', SUCCEEDED);
    }
    return 'go on';
  });

  const lines = linesOf(events);
  const count = (text: string) => lines.filter(l => l.includes(text)).length;
  expect([1, 2, 3].map(n => count(`line ${n}`))).toEqual([1, 1, 1]);
  expect(count('Re-attached to run run-1; earlier lines are above.')).toBe(1);
  expect(lines.at(-1)).toBe('Run completed with status: completed');
  expect(bridge.keys).toHaveLength(1);
}, 60_000);
