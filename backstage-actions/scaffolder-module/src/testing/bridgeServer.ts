/**
 * A bridge on a real socket, small: one action, runs that a test moves on, cursors.
 * For tests only.
 */
import { EventEmitter, once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { doneFrame, frame, runDocument } from './bridge';

type Patch = Parameters<typeof runDocument>[1];

export const ACTION = {
  id: 'namespace:create',
  title: 'Create a namespace',
  description: 'Makes a **namespace**.',
  schema: {
    input: {
      type: 'object',
      required: ['namespaceName'],
      properties: { namespaceName: { type: 'string', pattern: '^[a-z-]+$' } },
    },
    output: {
      type: 'object',
      properties: { namespace: { type: 'string', examples: ['team-a'] } },
    },
  },
  examples: [{ description: 'Small', input: { namespaceName: 'team-a' } }],
  wait: true,
  maxWaitSeconds: 60,
  supportsDryRun: true,
};

export class BridgeServer {
  actions: object[] = [ACTION];
  /** Called for each new run; moves it on with `print` and `end`. */
  onRun: (runId: string) => void = () => {};
  onCancel: (runId: string) => void = () => {};
  /** The keys of the submissions that made a run. */
  readonly keys: string[] = [];
  /** What was acknowledged, by `run/reader`. */
  readonly readers = new Map<string, number>();
  /** Emits `listed` when the actions were asked for, `followed` when a run's events were. */
  readonly asked = new EventEmitter();
  readonly #byKey = new Map<string, string>();
  readonly #runs = new Map<string, Patch>();
  readonly #frames = new Map<string, string[]>();
  readonly #streams = new Map<string, Set<ServerResponse>>();
  readonly #server = createServer((request, response) => {
    void this.#answer(request, response);
  });

  async start(): Promise<string> {
    await new Promise<void>(resolve => {
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise(resolve => this.#server.close(resolve));
  }

  /** Who follows a run just now: the `Authorization` of each open stream. */
  get followers(): string[] {
    return [...this.#streams.values()]
      .flatMap(streams => [...streams])
      .map(stream => stream.req.headers.authorization ?? '');
  }

  print(runId: string, message: string, more: Patch = {}): void {
    this.#send(runId, frame(this.#sent(runId).length + 1, message, more));
  }

  end(runId: string, message: string, patch: Patch): void {
    this.#runs.set(runId, patch);
    this.#send(runId, doneFrame(this.#sent(runId).length + 1, message));
    this.#streams.get(runId)?.forEach(stream => stream.end());
  }

  #sent(runId: string): string[] {
    const frames = this.#frames.get(runId) ?? [];
    this.#frames.set(runId, frames);
    return frames;
  }

  #send(runId: string, text: string): void {
    this.#sent(runId).push(text);
    this.#streams.get(runId)?.forEach(stream => stream.write(text));
  }

  async #answer(request: IncomingMessage, response: ServerResponse) {
    const url = decodeURIComponent(request.url ?? '');
    const [, , kind, runId = '', verb, ...rest] = url.split('/');
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(request, 'end');
    if (kind === 'actions') {
      this.asked.emit('listed');
      return json(response, 200, { actions: this.actions });
    }
    if (verb === 'events') {
      return this.#stream(runId, request, response);
    }
    if (verb === 'readers') {
      const text = Buffer.concat(chunks).toString('utf8');
      return this.#read(`${runId}/${rest.join('/')}`, text, response);
    }
    if (verb === 'cancel') {
      this.onCancel(runId);
    } else if (request.method === 'POST') {
      return this.#submit(request, response);
    }
    return json(response, 200, runDocument(runId, this.#runs.get(runId)));
  }

  /** The same key is the same run, until that has ended badly. */
  #submit(request: IncomingMessage, response: ServerResponse): void {
    const key = String(request.headers['idempotency-key']);
    const known = this.#byKey.get(key);
    const run = known && (this.#runs.get(known) ?? {});
    if (run && run.status !== 'failed' && run.status !== 'cancelled') {
      return json(response, 200, runDocument(known, run));
    }
    const id = `run-${this.keys.push(key)}`;
    this.#byKey.set(key, id);
    this.onRun(id);
    return json(response, 202, runDocument(id));
  }

  #read(name: string, body: string, response: ServerResponse): void {
    const { seq = 0 } = body ? (JSON.parse(body) as { seq?: number }) : {};
    this.readers.set(name, Math.max(seq, this.readers.get(name) ?? 0));
    json(response, 200, { reader: name, seq: this.readers.get(name) });
  }

  #stream(
    runId: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const after = Number(request.headers['last-event-id']);
    const frames = this.#sent(runId).slice(after);
    const over = this.#runs.has(runId);
    if (over && frames.length === 0) {
      response.writeHead(204).end();
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`retry: 10\n\n${frames.join('')}`);
    if (over) {
      response.end();
    } else {
      const streams = this.#streams.get(runId) ?? new Set();
      this.#streams.set(runId, streams.add(response));
      response.on('close', () => streams.delete(response));
    }
    this.asked.emit('followed');
  }
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
