/**
 * From a step to the run it belongs to: a new one, the one under way, or a new attempt.
 * Knows idempotency, and a *Retry* from a recovery; prints nothing but that it waits.
 */
import type { AuthService } from '@backstage/backend-plugin-api';
import type { BridgeClient, RunRequest } from '../client/bridgeClient';
import { persist } from '../client/retry';
import { endedBadly, type Run } from '../client/wire';
import { BridgeProblem, StepError } from '../errors';
import type { Settings } from '../settings';
import { pressOf, recordRun, type Entry } from './journal';
import type { Step, StepContext } from './step';

export interface Submission {
  readonly run: Run;
  /** Whether an earlier execution of this step knew the run already. */
  readonly again: boolean;
}

/**
 * Gives the run of this step. An execution after a crash takes the same run up again; one
 * after the user's *Retry* asks the bridge for a new attempt if the run has ended badly,
 * and attaches to it otherwise. Throws what the bridge refuses, or `BridgeUnreachable`
 * after `unreachableMs`, `StepError` when the task is cancelled between two tries.
 */
export async function obtainRun(
  ctx: StepContext,
  client: BridgeClient,
  step: Step,
  { auth, settings }: { auth: AuthService; settings: Settings },
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
  let run: Run | undefined;
  let again = false;
  const runId = await recordRun(ctx, step.fingerprint, async before => {
    run = before && (await patiently(() => findRun(client, before.runId)));
    const done = run && endedBadly(run.status);
    if (before && run && !(done && (await isRetried(ctx, auth, before)))) {
      again = true;
      return run.id;
    }
    const request = await pressed(ctx, auth, step.request);
    run = await patiently(() => client.submit(request, step.idempotencyKey));
    return run.id;
  });
  return { run: run ?? (await patiently(() => client.getRun(runId))), again };
}

/**
 * Whether somebody has pressed *Retry* since. Where nobody signs in, every pressing looks
 * the same: a run that has ended badly is then tried again.
 */
async function isRetried(
  ctx: StepContext,
  auth: AuthService,
  before: Entry,
): Promise<boolean> {
  if (Object.keys(ctx.secrets ?? {}).length === 0) {
    return false;
  }
  return !(await isSignedIn(ctx, auth)) || pressOf(ctx) !== before.press;
}

/** A task without secrets, e.g. a cancelled one, has no credentials either: its principal is none. */
async function isSignedIn(
  ctx: StepContext,
  auth: AuthService,
): Promise<boolean> {
  return !auth.isPrincipal(await ctx.getInitiatorCredentials(), 'none');
}

/**
 * The request with the pressing that it belongs to, where pressings can be told apart: an
 * execution that died before it could note its run then gets that run, however it ended.
 */
async function pressed(
  ctx: StepContext,
  auth: AuthService,
  request: RunRequest,
): Promise<RunRequest> {
  return (await isSignedIn(ctx, auth))
    ? { ...request, context: { ...request.context, attempt: pressOf(ctx) } }
    : request;
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
