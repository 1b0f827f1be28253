/**
 * `fetch` with the guards every request to the bridge has: no redirects, a limit on
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

/**
 * Sends one request. `signal` is the limit in time: its own reason is thrown when it
 * is not a timeout. Throws `BridgeUnreachable` or `BridgeProtocolError`.
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
    await discard(response);
    throw new BridgeProtocolError(
      `${url.origin} answered with a redirect; argoBridge.baseUrl must be the bridge itself`,
    );
  }
  return response;
}

/** Reads a JSON body of at most 8 MiB. */
export async function readJson(response: Response): Promise<unknown> {
  const type = contentType(response);
  if (!/^application\/(.+\+)?json$/.test(type)) {
    await discard(response);
    throw new BridgeProtocolError(
      `${new URL(response.url).origin} answered with ${type || 'no content type'} instead of JSON; is argoBridge.baseUrl the bridge?`,
    );
  }
  return parseJson(await readText(response));
}

/** Reads the problem document of an error answer; a body without one gives its status only. */
export async function readProblem(response: Response): Promise<BridgeProblem> {
  const retryAfter = Number(response.headers.get('retry-after') ?? NaN);
  const retryAfterMs = Number.isFinite(retryAfter)
    ? retryAfter * 1000
    : undefined;
  if (!/json$/.test(contentType(response))) {
    await discard(response);
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

/** Gives the connection back without reading the body. */
export async function discard(response: Response): Promise<void> {
  await response.body?.cancel();
}

/** The failure of a connection, without what only a programmer can read. */
export function unreachable(url: URL, error: unknown): Error {
  if (error instanceof Error && isDeliberate(error)) {
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
    const body: AsyncIterable<Uint8Array> | null = response.body;
    for await (const chunk of body ?? []) {
      size += chunk.byteLength;
      if (size > LARGEST_BODY) {
        throw new BridgeProtocolError('the bridge sent more than 8 MiB');
      }
      chunks.push(chunk);
    }
  } catch (error) {
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

/** Errors we threw ourselves pass through; those of fetch and of time limits do not. */
function isDeliberate(error: Error): boolean {
  return (
    error instanceof BridgeProtocolError ||
    error instanceof BridgeUnreachable ||
    error.name === 'AbortError'
  );
}

function reason(error: unknown): string {
  if (error instanceof Error && error.name === 'TimeoutError') {
    return 'no answer in time';
  }
  const cause: unknown = error instanceof Error ? error.cause : undefined;
  if (cause instanceof Error) {
    return 'code' in cause && typeof cause.code === 'string'
      ? cause.code
      : cause.message;
  }
  return 'connection lost';
}
