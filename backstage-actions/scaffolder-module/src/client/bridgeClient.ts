/**
 * The bridge's routes as methods. One client speaks for one session.
 * Knows routes and headers (docs/reference/http-api.md); retries nothing by itself.
 */
import type { JsonObject } from '@backstage/types';
import { BridgeProblem, BridgeProtocolError, SessionExpired } from '../errors';
import type { TokenSource } from '../session';
import type { Settings } from '../settings';
import { contentType, discard, readJson, send, unreachable } from './http';
import { readEvents, Watchdog } from './sse';
import { traceHeaders } from './trace';
import {
  isObject,
  parseEvent,
  parsePreview,
  parseReader,
  parseRun,
  type Preview,
  type Run,
  type RunEvent,
} from './wire';

/** What is asked of an action; `taskId` and `stepId` let the bridge name the run. */
export interface RunRequest {
  readonly action: string;
  readonly input: JsonObject;
  readonly context: {
    readonly taskId: string;
    readonly stepId: string;
    readonly template: string | undefined;
    /** Which pressing of *Create* or *Retry* asks: the same one never gets a second attempt. */
    readonly attempt?: string;
  };
}

/** Answer of `GET /v1/actions`; unread items, so that one bad entry hides no other. */
export interface ActionList {
  readonly etag: string | undefined;
  readonly actions: readonly unknown[];
}

type Method = 'GET' | 'POST' | 'PUT';

interface RequestOptions {
  readonly headers?: Record<string, string>;
  readonly body?: object;
  readonly signal?: AbortSignal;
}

export class BridgeClient {
  constructor(
    private readonly settings: Settings,
    private readonly session: TokenSource,
  ) {}

  /** The catalogue, or `undefined` when it is still the one with this ETag. */
  async listActions(etag?: string): Promise<ActionList | undefined> {
    const headers: Record<string, string> = etag
      ? { 'if-none-match': etag }
      : {};
    const response = await this.#request('GET', '/v1/actions', { headers });
    if (response.status === 304) {
      discard(response);
      return undefined;
    }
    const body = await readJson(response);
    if (!isObject(body) || !Array.isArray(body.actions)) {
      throw new BridgeProtocolError('the bridge answered without actions');
    }
    return {
      etag: response.headers.get('etag') ?? undefined,
      actions: body.actions,
    };
  }

  /** Accepts or replays: the same key and input give the same run, or after its failure a new attempt. */
  async submit(request: RunRequest, idempotencyKey: string): Promise<Run> {
    const response = await this.#request('POST', '/v1/runs', {
      headers: {
        'idempotency-key': idempotencyKey,
        ...(await traceHeaders()),
      },
      body: request,
    });
    return parseRun(await readJson(response), this.settings.baseUrl);
  }

  /** What a run would do; nothing is stored or submitted. */
  async preview(request: RunRequest): Promise<Preview> {
    const response = await this.#request('POST', '/v1/runs', {
      body: { ...request, context: { ...request.context, dryRun: true } },
    });
    return parsePreview(await readJson(response));
  }

  async getRun(runId: string): Promise<Run> {
    const response = await this.#requestLasting('GET', runPath(runId));
    return parseRun(await readJson(response), this.settings.baseUrl);
  }

  /** Asks for the workflow's stop; its exit handler rolls back. Idempotent. */
  async cancel(runId: string): Promise<void> {
    const path = `${runPath(runId)}/cancel`;
    discard(await this.#requestLasting('POST', path));
  }

  /** What `reader` has acknowledged of this run; 0 for nothing. */
  async acknowledged(runId: string, reader: string): Promise<number> {
    const path = readerPath(runId, reader);
    return parseReader(await readJson(await this.#requestLasting('GET', path)));
  }

  /** Notes that `reader` has shown every event up to `seq`; never goes back. */
  async acknowledge(runId: string, reader: string, seq: number): Promise<void> {
    const path = readerPath(runId, reader);
    discard(await this.#requestLasting('PUT', path, { body: { seq } }));
  }

  /**
   * The events after `seq` as they come together, until the connection ends; `undefined`
   * when there are no more (204). `onRetry` gets the server's delay in ms. Ends with `BridgeUnreachable`
   * after `silenceMs` without a byte, with the reason of `signal` when that aborts.
   */
  async openEvents(
    runId: string,
    seq: number,
    options: { signal: AbortSignal; onRetry: (ms: number) => void },
  ): Promise<AsyncGenerator<RunEvent[]> | undefined> {
    const watchdog = new Watchdog();
    const signal = AbortSignal.any([options.signal, watchdog.signal]);
    watchdog.feed(this.settings.requestMs);
    let response: Response;
    try {
      response = await this.#requestLasting('GET', `${runPath(runId)}/events`, {
        headers: {
          accept: 'text/event-stream',
          'last-event-id': String(seq),
        },
        signal,
      });
    } catch (error) {
      watchdog.stop();
      throw error;
    }
    if (response.status === 204) {
      watchdog.stop();
      return undefined;
    }
    return this.#events(response, watchdog, { ...options, signal });
  }

  async *#events(
    response: Response,
    watchdog: Watchdog,
    options: { signal: AbortSignal; onRetry: (ms: number) => void },
  ): AsyncGenerator<RunEvent[]> {
    try {
      if (contentType(response) !== 'text/event-stream' || !response.body) {
        discard(response);
        throw new BridgeProtocolError(
          'the bridge answered without an event stream',
        );
      }
      const onBytes = () => watchdog.feed(this.settings.silenceMs);
      onBytes();
      for await (const events of readEvents(response.body, {
        ...options,
        onBytes,
      })) {
        yield events.map(({ data }) => parseEvent(data));
      }
    } catch (error) {
      throw unreachable(new URL(this.settings.baseUrl), error);
    } finally {
      watchdog.stop();
    }
  }

  /** For what must go on when the user's credentials have ended: as Backstage itself, then. */
  async #requestLasting(
    method: Method,
    path: string,
    options: RequestOptions = {},
  ): Promise<Response> {
    try {
      return await this.#request(method, path, options);
    } catch (error) {
      const refused = error instanceof BridgeProblem && error.status === 401;
      if (!(refused || error instanceof SessionExpired)) {
        throw error;
      }
      if (!this.session.fallBack()) {
        throw error;
      }
      return this.#request(method, path, options);
    }
  }

  async #request(
    method: Method,
    path: string,
    { headers, body, signal }: RequestOptions = {},
  ): Promise<Response> {
    const token = await this.session.token();
    return send(new URL(this.settings.baseUrl + path), {
      method,
      headers: {
        accept: 'application/json',
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body && { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body ? JSON.stringify(body) : null,
      signal: signal ?? AbortSignal.timeout(this.settings.requestMs),
    });
  }
}

function runPath(runId: string): string {
  return `/v1/runs/${encodeURIComponent(runId)}`;
}

function readerPath(runId: string, reader: string): string {
  return `${runPath(runId)}/readers/${encodeURIComponent(reader)}`;
}
