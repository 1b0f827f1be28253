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
import { userSession } from '../session';
import type { Settings } from '../settings';
import type { TaskLog } from '../taskLog';
import { Cursor, readerOf } from './cursor';
import { deliver, failureOf } from './deliver';
import { Limits } from './limits';
import type { Occurrences } from './occurrences';
import { preview } from './preview';
import { Printer } from './printer';
import { announcement } from './shown';
import { stepOf, type Step, type StepContext } from './step';
import { obtainRun } from './submission';

/** What the handlers share. */
export interface Deps {
  readonly auth: AuthService;
  readonly settings: Settings;
  readonly occurrences: Occurrences;
  /** The log of the task that `ctx` belongs to. */
  readonly openLog: (ctx: StepContext) => TaskLog;
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
  const step = stepOf(ctx, deps.occurrences, job.action, job.input);
  try {
    if (ctx.isDryRun) {
      await preview(ctx, client, step);
    } else {
      await submitAndWait(ctx, client, deps, job, step);
    }
  } catch (error) {
    throw toStepError(error, job.action);
  }
}

async function submitAndWait(
  ctx: StepContext,
  client: BridgeClient,
  deps: Deps,
  job: Job,
  step: Step,
): Promise<void> {
  const { run, again } = await obtainRun(ctx, client, step, deps);
  const { storedMs } = deps.settings;
  const cursor = await Cursor.open(
    client,
    run.id,
    readerOf(step),
    deps.settings,
  );
  const log = deps.openLog(ctx);
  const printer = await Printer.open(ctx, log, cursor, {
    runId: run.id,
    storedMs,
  });
  try {
    await printer.say(
      announcement(run, job.action, printer.announced ?? again),
    );
    if (job.wait || ctx.signal?.aborted) {
      deliver(ctx, await watch(ctx, client, deps.settings, job, run, printer));
    } else {
      await printer.say('This step does not wait for the run to end.');
      deliver(ctx, run);
    }
  } finally {
    await printer.close().catch(standBack);
  }
}

/**
 * Leaves the step to the execution that has taken it over: an end of this one, good or bad,
 * would be the end of the task. Its place is free when this backend is started again.
 */
function standBack(): Promise<never> {
  return new Promise(() => {});
}

/** Follows the run to its end. Throws the `StepError` of a bad one. */
async function watch(
  ctx: StepContext,
  client: BridgeClient,
  settings: Settings,
  job: Job,
  run: Run,
  printer: Printer,
): Promise<Run> {
  const limits = new Limits(ctx, client, settings, run, job);
  const events = follow(client, run.id, {
    after: printer.after,
    signal: limits.signal,
    onLost: () =>
      ctx.logger.warn(
        'Lost the connection to the bridge; the run goes on. Reconnecting.',
      ),
    onBack: () => ctx.logger.info('Connected to the bridge again.'),
  });
  try {
    for await (const batch of events) {
      await printer.show(batch);
    }
    const ended = await readEnd(client, settings, run.id, limits.signal);
    limits.throwIfCancelled(ended);
    if (ended.status !== 'succeeded') {
      throw failureOf(job.action, ended);
    }
    return ended;
  } finally {
    limits.stop();
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
  });
  if (!hasEnded(run.status)) {
    throw new BridgeProtocolError(
      `the bridge sent no more events although run ${runId} is ${run.status}`,
    );
  }
  return run;
}
