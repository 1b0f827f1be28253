/**
 * `fetch` with the guards every request has: no redirects, a limit on
 * the body, a checked content type, and failures that are values of `errors.ts`.
 * Knows HTTP; knows no route of the bridge.
 */
import { cleanLine } from '../lines';
import {
  BridgeProblem,
  BridgeProtocolError,
  BridgeUnreachable,
  type FieldError,
} from '../errors';
import { isObject, parseJson } from './wire';

const LARGEST_BODY = 8 * 1024 * 1024;
const LONGEST_DETAIL = 500;
const KEEP_OPEN = { preventCancel: true }; // `discard` closes, and waits for nobody

/**
 * Sends one request. `signal` is the limit in time: its own reason is thrown when it
 * is not a timeout. Throws `BridgeUnreachable`, `BridgeProtocolError` or `BridgeProblem`.
 */
export async function send(
  url: URL,
  init: RequestInit & { signal: AbortSignal },
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { ...init, redirect: 'manual' });
  } catch (error) {
    throw unreachable(url, error);
  }
  if (
    response.status >= 300 &&
    response.status < 400 &&
    response.status !== 304
  ) {
    discard(response);
    throw new BridgeProtocolError(
      `${url.origin} answered with a redirect; argoBridge.baseUrl must be the bridge itself`,
    );
  }
  if (response.status >= 400) {
    throw await readProblem(response);
  }
  return response;
}

/** Reads a JSON body of at most 8 MiB. */
export async function readJson(response: Response): Promise<unknown> {
  const type = contentType(response);
  if (!/^application\/(.+\+)?json$/.test(type)) {
    discard(response);
    throw new BridgeProtocolError(
      `${new URL(response.url).origin} answered with ${type || 'no content type'} instead of JSON; is argoBridge.baseUrl the bridge?`,
    );
  }
  return parseJson(await readText(response));
}

/** Reads the problem document of an error answer; a body without one gives its status only. */
async function readProblem(response: Response): Promise<BridgeProblem> {
  const retryAfter = Number(response.headers.get('retry-after') ?? NaN);
  const retryAfterMs = Number.isFinite(retryAfter)
    ? retryAfter * 1000
    : undefined;
  if (!/json$/.test(contentType(response))) {
    discard(response);
    const status = `HTTP ${response.status}`;
    return new BridgeProblem(response.status, '', status, [], [], retryAfterMs);
  }
  const body = await readJson(response);
  const problem = isObject(body) ? body : {};
  return new BridgeProblem(
    response.status,
    show(problem.code),
    show(problem.detail) || show(problem.title) || `HTTP ${response.status}`,
    fieldErrors(problem.errors),
    Array.isArray(problem.suggestions) ? problem.suggestions.map(show) : [],
    retryAfterMs,
  );
}

/** The media type without its parameters, in lower case. */
export function contentType(response: Response): string {
  const header = response.headers.get('content-type') ?? '';
  return (header.split(';')[0] ?? '').trim().toLowerCase();
}

/** Gives the connection back without reading the body, and without waiting for that. */
export function discard(response: Response): void {
  response.body?.cancel().catch(() => {
    // the connection is gone already
  });
}

/** The failure of a connection, without what only a programmer can read. */
export function unreachable(url: URL, error: unknown): Error {
  if (
    error instanceof BridgeProtocolError ||
    error instanceof BridgeUnreachable
  ) {
    return error;
  }
  return new BridgeUnreachable(
    `The bridge at ${url.origin} is not reachable (${reason(error)}).`,
    { cause: error },
  );
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    const body: AsyncIterable<Uint8Array> | undefined =
      response.body?.values(KEEP_OPEN);
    for await (const chunk of body ?? []) {
      size += chunk.byteLength;
      if (size > LARGEST_BODY) {
        throw new BridgeProtocolError('the bridge sent more than 8 MiB');
      }
      chunks.push(chunk);
    }
  } catch (error) {
    discard(response);
    throw unreachable(new URL(response.url), error);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function fieldErrors(value: unknown): FieldError[] {
  return (Array.isArray(value) ? value : []).filter(isObject).map(error => ({
    pointer: show(error.pointer),
    message: show(error.message),
  }));
}

function show(value: unknown): string {
  return typeof value === 'string'
    ? cleanLine(value).slice(0, LONGEST_DETAIL)
    : '';
}

/** The system's code (`ECONNREFUSED`) where there is one; fetch hides it in `cause`. */
function reason(error: unknown): string {
  const { name, cause } = (error ?? {}) as { name?: string; cause?: unknown };
  if (name === 'TimeoutError') {
    return 'no answer in time';
  }
  const { code, message } = (cause ?? {}) as {
    code?: string;
    message?: string;
  };
  return code ?? message ?? 'connection lost';
}
