/**
 * A bridge on a real socket, small: one action, runs that a test moves on.
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
  readonly keys: string[] = [];
  /** Emits `asked` for each reading of the list of actions. */
  readonly lists = new EventEmitter();
  readonly #runs = new Map<string, Patch>();
  readonly #frames = new Map<string, string[]>();
  readonly #streams = new Map<string, ServerResponse>();
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

  print(runId: string, message: string): void {
    this.#send(runId, frame(this.#sent(runId).length + 1, message));
  }

  end(runId: string, message: string, patch: Patch): void {
    this.#runs.set(runId, patch);
    this.#send(runId, doneFrame(this.#sent(runId).length + 1, message));
    this.#streams.get(runId)?.end();
  }

  #sent(runId: string): string[] {
    const frames = this.#frames.get(runId) ?? [];
    this.#frames.set(runId, frames);
    return frames;
  }

  #send(runId: string, text: string): void {
    this.#sent(runId).push(text);
    this.#streams.get(runId)?.write(text);
  }

  async #answer(request: IncomingMessage, response: ServerResponse) {
    const [, , kind, runId = '', verb] = (request.url ?? '').split('/');
    request.resume(); // the body does not matter here
    await once(request, 'end');
    if (kind === 'actions') {
      this.lists.emit('asked');
      return json(response, 200, { actions: this.actions });
    }
    if (verb === 'events') {
      return this.#stream(runId, response);
    }
    if (verb === 'cancel') {
      this.onCancel(runId);
    } else if (request.method === 'POST') {
      const id = `run-${this.keys.length + 1}`;
      this.keys.push(String(request.headers['idempotency-key']));
      this.onRun(id);
      return json(response, 202, runDocument(id));
    }
    return json(response, 200, runDocument(runId, this.#runs.get(runId)));
  }

  #stream(runId: string, response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(`retry: 10\n\n${this.#sent(runId).join('')}`);
    this.#streams.set(runId, response);
    if (this.#runs.has(runId)) {
      response.end();
    }
  }
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
