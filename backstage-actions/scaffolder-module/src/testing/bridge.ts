/**
 * A bridge that msw plays: it keeps runs, notes what it was asked, and streams what a
 * test has written down. For tests only.
 */
import { registerMswTestHooks } from '@backstage/backend-test-utils';
import { http, HttpResponse, type JsonBodyType } from 'msw';
import { setupServer, type SetupServer } from 'msw/node';
import type { Job } from '../actions/runAction';
import type { Settings } from '../settings';

export const BASE_URL = 'http://bridge.test';

export const SETTINGS: Settings = {
  baseUrl: BASE_URL,
  token: undefined,
  pluginId: 'argo-bridge',
  manifest: '/nowhere/actions.json',
  refreshMs: 60_000,
  startMs: 50,
  requestMs: 2000,
  silenceMs: 2000,
  unreachableMs: 3000,
  cancelMs: 2000,
  storedMs: 60,
};

/** One scripted answer to `GET …/events`. */
export type Stream =
  | {
      readonly text: string;
      /** What comes later, before the end. */
      readonly rest?: Promise<string>;
      readonly then: 'close' | 'cut' | 'hang';
    }
  | 'gone';

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly body: unknown;
}

type RunPatch = Record<string, JsonBodyType>;

/** A run document as the contract writes it. */
export function runDocument(id: string, patch: RunPatch = {}): RunPatch {
  return {
    id,
    action: 'namespace:create',
    status: 'running',
    attempt: 1,
    outputs: {},
    entityRef: null,
    error: null,
    workflow: { name: `namespace-create-${id}`, url: null },
    links: { self: `/v1/runs/${id}` },
    ...patch,
  };
}

export const SUCCEEDED: RunPatch = {
  status: 'succeeded',
  outputs: { namespace: 'team-a-dev' },
  entityRef: 'resource:default/team-a-dev',
};

export const FAILED: RunPatch = {
  status: 'failed',
  error: { code: 'workflow_failed', message: 'The quota was refused.' },
};

/** One event as the bridge writes it to a stream. */
export function frame(seq: number, message: string, more: RunPatch = {}) {
  const data = { seq, type: 'log', level: 'info', message, ...more };
  return `id: ${seq}\nevent: ${String(data.type)}\ndata: ${JSON.stringify(data)}\n\n`;
}

export function doneFrame(seq: number, message: string) {
  return frame(seq, message, { type: 'done' });
}

/** Makes the client come back at once, as a real `retry:` line would. */
export const SOON = 'retry: 5\n\n';

/** The job the tests run. */
export const JOB: Job = {
  action: 'namespace:create',
  input: { namespaceName: 'team-a-dev' },
  wait: true,
  maxWaitSeconds: 60,
};

/** A fresh fake bridge for each test of the file, and the msw server it lives in. */
export function playBridge(): { bridge: FakeBridge; server: SetupServer } {
  const server = setupServer();
  registerMswTestHooks(server);
  const stage = { bridge: new FakeBridge(), server };
  beforeEach(() => {
    stage.bridge = new FakeBridge();
    server.use(...stage.bridge.handlers);
  });
  return stage;
}

export class FakeBridge {
  readonly asked: Asked[] = [];
  readonly runs = new Map<string, RunPatch>();
  /** Ids of the runs that the next submissions make. */
  readonly nextRuns: string[] = ['run-1', 'run-2'];
  readonly streams: Stream[] = [];
  readonly byKey = new Map<string, string>();
  /** Which pressing began a run. */
  readonly presses = new Map<string, string>();
  /** What readers have acknowledged, by `run/reader`; a bridge without this answers 404. */
  readers: Map<string, number> | undefined = new Map<string, number>();
  onCancel: (runId: string) => void = () => {};
  /** Called when a reader acknowledges. */
  onRead: () => void = () => {};

  /** Requests of one kind, e.g. `POST /v1/runs`. */
  requests(method: string, path: string): Asked[] {
    return this.asked.filter(a => a.method === method && a.path === path);
  }

  /** The events after which run-1 was asked for, one for each connection. */
  get resumedFrom(): (string | null)[] {
    return this.requests('GET', '/v1/runs/run-1/events').map(({ headers }) =>
      headers.get('last-event-id'),
    );
  }

  /** Streams `messages` as a run's events, the last one as its end. */
  stream(...messages: string[]): void {
    const frames = messages.map((message, index) =>
      (index === messages.length - 1 ? doneFrame : frame)(index + 1, message),
    );
    this.streams.push({ text: frames.join(''), then: 'close' });
  }

  #reader(runId: string, reader: string, seq = 0) {
    if (!this.readers) {
      return HttpResponse.json({ title: 'Not found' }, { status: 404 });
    }
    const key = `${runId}/${reader}`;
    const greatest = Math.max(seq, this.readers.get(key) ?? 0);
    this.readers.set(key, greatest);
    return HttpResponse.json({ reader, seq: greatest });
  }

  readonly handlers = [
    http.all(`${BASE_URL}/*`, async ({ request }) => {
      const text = await request.clone().text();
      this.asked.push({
        method: request.method,
        path: new URL(request.url).pathname,
        headers: request.headers,
        body: text ? JSON.parse(text) : undefined,
      });
    }),
    http.post(`${BASE_URL}/v1/runs`, async ({ request }) => {
      const body = (await request.clone().json()) as {
        context?: { attempt?: string };
      };
      const press = body.context?.attempt;
      const key = request.headers.get('idempotency-key') ?? '';
      const known = this.byKey.get(key);
      const run = known ? this.runs.get(known) : undefined;
      if (
        known &&
        run &&
        ((run.status !== 'failed' && run.status !== 'cancelled') ||
          (press !== undefined && this.presses.get(known) === press))
      ) {
        return HttpResponse.json(runDocument(known, run));
      }
      const id = this.nextRuns.shift() ?? 'run-x';
      const attempt = Number(run?.attempt ?? 0) + 1;
      this.byKey.set(key, id);
      if (press !== undefined) {
        this.presses.set(id, press);
      }
      this.runs.set(id, { attempt, ...this.runs.get(id) });
      return HttpResponse.json(runDocument(id, this.runs.get(id)), {
        status: 202,
      });
    }),
    http.get(`${BASE_URL}/v1/runs/:id`, ({ params }) =>
      HttpResponse.json(
        runDocument(String(params.id), this.runs.get(String(params.id))),
      ),
    ),
    http.post(`${BASE_URL}/v1/runs/:id/cancel`, ({ params }) => {
      this.onCancel(String(params.id));
      return HttpResponse.json(runDocument(String(params.id)), { status: 202 });
    }),
    http.get(`${BASE_URL}/v1/runs/:id/readers/:reader`, ({ params }) =>
      this.#reader(String(params.id), String(params.reader)),
    ),
    http.put(
      `${BASE_URL}/v1/runs/:id/readers/:reader`,
      async ({ params, request }) => {
        const { seq } = (await request.json()) as { seq: number };
        this.onRead();
        return this.#reader(String(params.id), String(params.reader), seq);
      },
    ),
    http.get(`${BASE_URL}/v1/runs/:id/events`, () => {
      const stream = this.streams.shift() ?? 'gone';
      if (stream === 'gone') {
        return new HttpResponse(null, { status: 204 });
      }
      return new HttpResponse(bodyOf(stream), {
        headers: { 'content-type': 'text/event-stream; charset=utf-8' },
      });
    }),
  ];
}

function bodyOf({ text, rest, then }: Exclude<Stream, 'gone'>) {
  const parts = [text, ...(rest ? [rest] : [])];
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const part = await parts.shift();
      if (part !== undefined) {
        controller.enqueue(new TextEncoder().encode(part));
      } else if (then === 'close') {
        controller.close();
      } else if (then === 'cut') {
        controller.error(new TypeError('terminated'));
      }
    },
  });
}
