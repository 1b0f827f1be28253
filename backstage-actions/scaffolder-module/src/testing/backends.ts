/**
 * Backstage backends in processes of their own, over one database, to be killed.
 * For tests only.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EACH_TEMPLATE, TEMPLATE } from './tasks';

const TOKEN = 'token-of-the-test';
const PATIENCE_MS = 90_000; // a start takes 3 s, on an overloaded machine half a minute
const LAST_LINES = 20;

export interface BackendOptions {
  readonly folder: string;
  readonly bridgeUrl: string;
  /** `backend.database` of the configuration. */
  readonly database: object;
}

/** One backend, which keeps its port over its lives. */
export class Backend {
  /** How the bridge knows it from others. */
  readonly token: string;
  #child: ChildProcess | undefined;

  private constructor(
    private readonly port: number,
    private readonly options: BackendOptions,
  ) {
    this.token = `backend-at-${port}`;
  }

  static async make(options: BackendOptions): Promise<Backend> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    return new Backend(port, options);
  }

  /** Starts the process; `isReady` says when it answers. */
  start(): void {
    const data = this.#config();
    const output = openSync(this.#output, 'a');
    this.#child = spawn(
      process.execPath,
      [path.join(__dirname, 'backend.cjs')],
      {
        env: {
          ...process.env,
          NODE_ENV: 'development',
          BACKEND: JSON.stringify({
            data,
            entities: [TEMPLATE, EACH_TEMPLATE],
          }),
        },
        stdio: ['ignore', output, output],
      },
    );
    closeSync(output);
  }

  /** Waits until the scaffolder answers. */
  async isReady(): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    while (this.#isAlive && Date.now() < deadline) {
      const answer = await this.call('/v2/actions').catch(() => undefined);
      if (answer?.ok) {
        return;
      }
      await sleep(100); // the next look; what is waited for is the answer
    }
    throw new Error(`a backend does not answer\n${this.lastLines()}`);
  }

  /** What it printed last, and how it ended if it did. */
  lastLines(): string {
    const { exitCode, signalCode } = this.#child ?? {};
    const end = this.#isAlive ? 'lives' : `ended: ${signalCode ?? exitCode}`;
    const lines = readFileSync(this.#output, 'utf8').trimEnd().split('\n');
    return [`backend at ${this.port} ${end}`, ...lines.slice(-LAST_LINES)].join(
      '\n',
    );
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child && this.#isAlive) {
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    }
  }

  /** Stalls it, as a machine without time to give does. */
  stall(): void {
    this.#child?.kill('SIGSTOP');
  }

  goOn(): void {
    this.#child?.kill('SIGCONT');
  }

  call(route: string, body?: object): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.port}/api/scaffolder${route}`, {
      method: body ? 'POST' : 'GET',
      headers: {
        authorization: `Bearer ${TOKEN}`,
        'content-type': 'application/json',
      },
      body: body ? JSON.stringify(body) : null,
    });
  }

  /** Starts a task of a template; gives its id. */
  async create(name: string, template = 'namespace'): Promise<string> {
    const answer = await this.call('/v2/tasks', {
      templateRef: `template:default/${template}`,
      values: { name },
    });
    return ((await answer.json()) as { id: string }).id;
  }

  get #isAlive(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null;
  }

  get #output(): string {
    return path.join(this.options.folder, `backend-${this.port}.log`);
  }

  #config(): object {
    const { folder, bridgeUrl, database } = this.options;
    const baseUrl = `http://127.0.0.1:${this.port}`;
    return {
      app: { baseUrl },
      backend: {
        baseUrl,
        listen: { host: '127.0.0.1', port: this.port },
        workingDirectory: folder,
        database,
        auth: {
          externalAccess: [
            { type: 'static', options: { token: TOKEN, subject: 'test' } },
          ],
        },
      },
      scaffolder: {
        taskRecovery: { enabled: true, staleTimeout: { seconds: 5 } },
      },
      argoBridge: { baseUrl: bridgeUrl, token: this.token },
    };
  }
}

/** Waits for something that `backends` do; where they do not, tells what they printed. */
export async function within<T>(
  backends: readonly Backend[],
  what: string,
  done: Promise<T>,
): Promise<T> {
  const patience = new AbortController();
  const { signal } = patience;
  const tooLong = sleep(PATIENCE_MS, undefined, { signal }).then(() => {
    const output = backends.map(backend => backend.lastLines());
    throw new Error(`${what}: not seen in time\n${output.join('\n')}`);
  });
  try {
    return await Promise.race([done, tooLong]);
  } finally {
    patience.abort();
    tooLong.catch(() => {});
  }
}
