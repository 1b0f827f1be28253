/**
 * One step from submission to outputs: what every action of this module does.
 * Knows the order of things and the scaffolder's context; leaves HTTP to the client.
 */
import type { AuthService } from '@backstage/backend-plugin-api';
import type { JsonObject } from '@backstage/types';
import { BridgeClient } from '../client/bridgeClient';
import { follow } from '../client/follow';
import { persist } from '../client/retry';
import { hasEnded, type Run } from '../client/wire';
import { BridgeProtocolError, toStepError } from '../errors';
import { cleanLine } from '../lines';
import { userSession } from '../session';
import type { Settings } from '../settings';
import { deliver, failureOf } from './deliver';
import { Limits } from './limits';
import { preview } from './preview';
import { stepOf, type StepContext } from './step';
import { obtainRun, type Submission } from './submission';

/** What the handlers share. */
export interface Deps {
  readonly auth: AuthService;
  readonly settings: Settings;
}

/** What is run, and how long the step lasts. */
export interface Job {
  readonly action: string;
  readonly input: JsonObject;
  readonly wait: boolean;
  readonly maxWaitSeconds: number;
}

/**
 * Runs `job` as this step and gives its outputs to `ctx.output`. Throws a `StepError`
 * when the run was refused, did not succeed, was cancelled, or outlasted the step.
 */
export async function runAction(
  ctx: StepContext,
  deps: Deps,
  job: Job,
): Promise<void> {
  const session = userSession(deps.auth, deps.settings, () =>
    ctx.getInitiatorCredentials(),
  );
  const client = new BridgeClient(deps.settings, session);
  try {
    if (ctx.isDryRun) {
      await preview(ctx, client, stepOf(ctx, job.action, job.input));
    } else {
      await submitAndWait(ctx, client, deps.settings, job);
    }
  } catch (error) {
    throw toStepError(error, job.action);
  }
}

async function submitAndWait(
  ctx: StepContext,
  client: BridgeClient,
  settings: Settings,
  job: Job,
): Promise<void> {
  const step = stepOf(ctx, job.action, job.input);
  const submission = await obtainRun(ctx, client, step, settings);
  if (job.wait || ctx.signal?.aborted) {
    await watch(ctx, client, settings, job, submission);
    return;
  }
  ctx.logger.info('This step does not wait for the run to end.');
  deliver(ctx, submission.run);
}

/** Follows the run to its end; a bad end is told, so that a retry starts anew. */
async function watch(
  ctx: StepContext,
  client: BridgeClient,
  settings: Settings,
  job: Job,
  submission: Submission,
): Promise<void> {
  const { journal, run } = submission;
  const limits = new Limits(ctx, client, settings, run, job);
  try {
    await printLines(ctx, client, submission, limits.signal);
    const ended = await readEnd(client, settings, run.id, limits.signal);
    limits.throwIfCancelled(ended);
    if (ended.status !== 'succeeded') {
      throw failureOf(job.action, ended);
    }
    await journal.close();
    deliver(ctx, ended);
  } catch (error) {
    await journal.tell();
    throw error;
  } finally {
    limits.stop();
  }
}

/** Prints the lines that are not in the log yet, up to the last one. */
async function printLines(
  ctx: StepContext,
  client: BridgeClient,
  { journal, place, run }: Submission,
  signal: AbortSignal,
): Promise<void> {
  const events = follow(client, run.id, {
    after: place.after,
    signal,
    onLost: () =>
      ctx.logger.warn(
        'Lost the connection to the bridge; the run goes on. Reconnecting.',
      ),
    onBack: () => ctx.logger.info('Connected to the bridge again.'),
  });
  for await (const event of events) {
    const line = cleanLine(event.message);
    if (line) {
      ctx.logger[event.level](line);
    }
    journal.note({ runId: run.id, after: event.seq });
  }
}

async function readEnd(
  client: BridgeClient,
  settings: Settings,
  runId: string,
  signal: AbortSignal,
): Promise<Run> {
  const run = await persist(() => client.getRun(runId), {
    limitMs: settings.unreachableMs,
    signal,
    onLost: () => {},
  });
  if (!hasEnded(run.status)) {
    throw new BridgeProtocolError(
      `the bridge sent no more events although run ${runId} is ${run.status}`,
    );
  }
  return run;
}
