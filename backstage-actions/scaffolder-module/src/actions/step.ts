/**
 * What one step asks for, and its identity across recovery and retry.
 * Knows the action context of the scaffolder; sends nothing.
 */
import { createHash } from 'node:crypto';
import type { ActionContext } from '@backstage/plugin-scaffolder-node';
import type { JsonObject, JsonValue } from '@backstage/types';
import type { RunRequest } from '../client/bridgeClient';
import { isObject } from '../client/wire';
import type { Occurrences } from './occurrences';

export type StepContext = ActionContext<JsonObject>;

/** One step of one task that runs one action of the bridge. */
export interface Step {
  readonly request: RunRequest;
  /**
   * The same for the same task, step, action, input and occurrence: what makes a
   * submission repeatable.
   */
  readonly idempotencyKey: string;
  /**
   * Short hash of action and input, with the occurrence: tells the items of an `each`
   * apart, which share the step id.
   */
  readonly fingerprint: string;
}

/** The step in `ctx` that runs `action` with `input`. Secrets of the task are left out. */
export function stepOf(
  ctx: StepContext,
  occurrences: Occurrences,
  action: string,
  input: JsonObject,
): Step {
  const taskId = ctx.task.id;
  const stepId = ctx.step?.id ?? '';
  const canonical = canonicalJson(input);
  const short = hash(action, canonical).slice(0, 12);
  const occurrence = occurrences.next(ctx.logger, short);
  const nth = occurrence === 0 ? [] : [String(occurrence + 1)];
  return {
    request: {
      action,
      input,
      context: { taskId, stepId, template: ctx.templateInfo?.entityRef },
    },
    idempotencyKey: `scaffolder-${hash(taskId, stepId, action, canonical, ...nth)}`,
    fingerprint: [short, ...nth].join('-'),
  };
}

/** SHA-256 of the parts, in hexadecimal. */
export function hash(...parts: string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** JSON whose objects have their keys sorted: the order of a template's fields means nothing. */
export function canonicalJson(value: JsonValue = null): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    isObject(item)
      ? Object.fromEntries(
          Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)),
        )
      : item,
  );
}
