/**
 * From a step to the run it belongs to: a new one, the one under way, or a new attempt.
 * Knows idempotency and the journal; prints which of the three it is.
 */
import type { BridgeClient } from '../client/bridgeClient';
import { persist } from '../client/retry';
import { endedBadly, type Run } from '../client/wire';
import { BridgeProblem, StepError } from '../errors';
import type { Settings } from '../settings';
import { Journal, type Place } from './journal';
import type { Step, StepContext } from './step';

export interface Submission {
  readonly journal: Journal;
  readonly place: Place;
  readonly run: Run;
}

/**
 * Gives the run of this step. An execution after a crash takes the same run up again;
 * one after a failure the user was told of (the task's *Retry*) asks the bridge for a
 * new attempt. Throws what the bridge refuses, or `BridgeUnreachable` after
 * `unreachableMs`, `StepError` when the task is cancelled between two tries.
 */
export async function obtainRun(
  ctx: StepContext,
  client: BridgeClient,
  step: Step,
  settings: Settings,
): Promise<Submission> {
  const signal = ctx.signal ?? new AbortController().signal;
  const patiently = <T>(call: () => Promise<T>) =>
    persist(call, {
      limitMs: settings.unreachableMs,
      signal,
      onLost: () => ctx.logger.warn('The bridge is not reachable; retrying.'),
    }).catch((error: unknown) => {
      throw signal.aborted && error === signal.reason ? notSubmitted() : error;
    });
  const submit = () =>
    patiently(() => client.submit(step.request, step.idempotencyKey));
  let run: Run | undefined;
  let attached = false;
  const { journal, place } = await Journal.open(
    ctx,
    step.fingerprint,
    async before => {
      run = before && (await patiently(() => findRun(client, before.runId)));
      if (before && run && !(before.told && endedBadly(run.status))) {
        attached = true;
        return { runId: run.id, after: before.after };
      }
      run = await submit();
      return { runId: run.id, after: 0 };
    },
  );
  const found = run ?? (await patiently(() => client.getRun(place.runId)));
  announce(ctx, step, found, attached);
  return { journal, place, run: found };
}

/** The run, or `undefined` when the bridge has forgotten it (its key it may still know). */
async function findRun(
  client: BridgeClient,
  runId: string,
): Promise<Run | undefined> {
  try {
    return await client.getRun(runId);
  } catch (error) {
    if (error instanceof BridgeProblem && error.status === 404) {
      return undefined;
    }
    throw error;
  }
}

function notSubmitted(): StepError {
  return new StepError(
    'Cancelled',
    'The task was cancelled before the bridge confirmed a run.',
  );
}

function announce(
  ctx: StepContext,
  step: Step,
  run: Run,
  attached: boolean,
): void {
  if (attached) {
    ctx.logger.info(`Re-attached to run ${run.id}; earlier lines are above.`);
    return;
  }
  const attempt = run.attempt > 1 ? ` (attempt ${run.attempt})` : '';
  ctx.logger.info(
    `Run ${run.id} of ${step.request.action}${attempt}: ${run.url}`,
  );
}
