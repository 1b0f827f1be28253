/**
 * The bridge's documents as types, and the checks that an answer is one of them.
 * Knows the HTTP contract (docs/reference/http-api.md); knows nothing of fetch.
 */
import type { JsonObject, JsonValue } from '@backstage/types';
import { BridgeProtocolError } from '../errors';

/** One entry of `GET /v1/actions`. Schemas are JSON Schema draft-07. */
export interface ActionDefinition {
  readonly id: string;
  readonly title: string;
  /** Markdown. */
  readonly description: string;
  readonly schema: { readonly input: JsonObject; readonly output: JsonObject };
  readonly examples: readonly ActionExample[];
  /** Whether a step lasts until the run ends. */
  readonly wait: boolean;
  readonly maxWaitSeconds: number;
  readonly supportsDryRun: boolean;
}

export interface ActionExample {
  readonly description: string;
  readonly input: JsonObject;
}

export type RunStatus =
  | 'accepted'
  | 'submitting'
  | 'running'
  | 'waiting'
  | 'registering'
  | 'succeeded'
  | 'failed'
  | 'cancelled'
  | 'lost';

export interface RunError {
  readonly code: string;
  /** One sentence. */
  readonly message: string;
}

export interface Run {
  readonly id: string;
  readonly status: RunStatus;
  readonly attempt: number;
  readonly outputs: JsonObject;
  readonly entityRef: string | undefined;
  readonly error: RunError | undefined;
  readonly workflowName: string | undefined;
  /** Page of the workflow in the Argo UI, or the run at the bridge. */
  readonly url: string;
}

/** Answer to a dry run. */
export interface Preview {
  readonly workflow: JsonObject;
  readonly outputs: JsonObject;
}

export type Level = 'debug' | 'info' | 'warn' | 'error';

/** One event of a run. `message` is a line to show as it stands, or empty. */
export interface RunEvent {
  /** From 1, without gaps. */
  readonly seq: number;
  readonly type: string;
  readonly level: Level;
  readonly message: string;
}

const STATUSES: ReadonlySet<string> = new Set<RunStatus>([
  'accepted',
  'submitting',
  'running',
  'waiting',
  'registering',
  'succeeded',
  'failed',
  'cancelled',
  'lost',
]);
const LEVELS: ReadonlySet<string> = new Set<Level>([
  'debug',
  'info',
  'warn',
  'error',
]);

/** Whether the run is over. */
export function hasEnded(status: RunStatus): boolean {
  return status === 'succeeded' || endedBadly(status);
}

/** Whether the run has ended without success, so that asking again is a new attempt. */
export function endedBadly(status: RunStatus): boolean {
  return status === 'failed' || status === 'cancelled' || status === 'lost';
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads one action; `undefined` when it is not one (the caller reports it). */
export function parseAction(value: unknown): ActionDefinition | undefined {
  if (!isObject(value) || !isObject(value.schema)) {
    return undefined;
  }
  const { id, schema } = value;
  if (typeof id !== 'string' || !/^[\w.:-]+$/.test(id)) {
    return undefined;
  }
  if (!isObject(schema.input)) {
    return undefined;
  }
  return {
    id,
    title: text(value.title) ?? id,
    description: text(value.description) ?? '',
    schema: { input: schema.input, output: object(schema.output) },
    examples: Array.isArray(value.examples)
      ? value.examples.filter(isObject).map(example => ({
          description: text(example.description) ?? '',
          input: object(example.input),
        }))
      : [],
    wait: value.wait !== false,
    maxWaitSeconds: number(value.maxWaitSeconds) ?? 86_400,
    supportsDryRun: value.supportsDryRun === true,
  };
}

/** Reads a run; `baseUrl` completes its links. Throws `BridgeProtocolError`. */
export function parseRun(value: unknown, baseUrl: string): Run {
  const status = isObject(value) ? (text(value.status) ?? '') : '';
  if (!isObject(value) || typeof value.id !== 'string' || !isStatus(status)) {
    throw new BridgeProtocolError('the bridge answered without a run');
  }
  const { id, error } = value;
  const workflow = object(value.workflow);
  const self = text(object(value.links).self) ?? `/v1/runs/${id}`;
  return {
    id,
    status,
    attempt: number(value.attempt) ?? 1,
    outputs: object(value.outputs),
    entityRef: text(value.entityRef),
    error: isObject(error)
      ? { code: text(error.code) ?? '', message: text(error.message) ?? '' }
      : undefined,
    workflowName: text(workflow.name),
    url: text(workflow.url) ?? `${baseUrl}${self}`,
  };
}

/** Reads a dry run's answer. Throws `BridgeProtocolError`. */
export function parsePreview(value: unknown): Preview {
  if (!isObject(value) || value.dryRun !== true) {
    throw new BridgeProtocolError('the bridge answered without a preview');
  }
  return { workflow: object(value.workflow), outputs: object(value.outputs) };
}

/** Reads how far a reader is. Throws `BridgeProtocolError`. */
export function parseReader(value: unknown): number {
  const seq = isObject(value) ? number(value.seq) : undefined;
  if (seq === undefined) {
    throw new BridgeProtocolError('the bridge answered without a reader');
  }
  return seq;
}

/** Reads the `data:` of one event. Throws `BridgeProtocolError`. */
export function parseEvent(data: string): RunEvent {
  const value = parseJson(data);
  const seq = isObject(value) ? number(value.seq) : undefined;
  if (!isObject(value) || seq === undefined || !Number.isInteger(seq)) {
    throw new BridgeProtocolError('the bridge sent an event without a number');
  }
  const level = text(value.level) ?? '';
  return {
    seq,
    type: text(value.type) ?? '',
    level: isLevel(level) ? level : 'info',
    message: text(value.message) ?? '',
  };
}

/** `JSON.parse` whose failure is a `BridgeProtocolError`. */
export function parseJson(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    throw new BridgeProtocolError('the bridge sent text that is not JSON');
  }
}

function isStatus(value: string): value is RunStatus {
  return STATUSES.has(value);
}

function isLevel(value: string): value is Level {
  return LEVELS.has(value);
}

function object(value: JsonValue | undefined): JsonObject {
  return isObject(value) ? value : {};
}

function text(value: JsonValue | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function number(value: JsonValue | undefined): number | undefined {
  return typeof value === 'number' ? value : undefined;
}
