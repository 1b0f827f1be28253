/**
 * Which run a step belongs to, remembered across recovery and retry in the task's
 * checkpoints. Knows how checkpoints behave; knows nothing of HTTP.
 *
 * The scaffolder runs an interrupted or retried step again from its top: call that one
 * execution. A checkpoint stored by an earlier execution can be read but not changed, so
 * each execution has a record of its own, under `submit.<fingerprint>`, `….2`, `….3` …
 */
import { canonicalJson, hash, type StepContext } from './step';

/** What one execution leaves behind. */
export interface Entry {
  readonly runId: string;
  /** Which pressing of *Create* or *Retry* the execution belongs to. */
  readonly press: string;
}

/**
 * Gives the run of this execution. `begin` gets the entry of the one before, if any, and
 * answers with the id of the run; what it does is not done again after it was stored.
 */
export async function recordRun(
  ctx: StepContext,
  fingerprint: string,
  begin: (before: Entry | undefined) => Promise<string>,
): Promise<string> {
  const press = pressOf(ctx);
  let before: Entry | undefined;
  for (let execution = 1; ; execution += 1) {
    const suffix = execution === 1 ? '' : `.${execution}`;
    const last = before;
    let isNew = false;
    const entry = await ctx.checkpoint({
      key: `submit.${fingerprint}${suffix}`,
      fn: async () => {
        isNew = true;
        return { runId: await begin(last), press };
      },
    });
    if (isNew) {
      return entry.runId;
    }
    before = entry;
  }
}

/**
 * A recovered task keeps its secrets; a retried one gets new ones, with a freshly signed
 * token among them (plugin-scaffolder-backend 4.2.0, `POST /v2/tasks/:id/retry`). A
 * cancelled one has lost them.
 */
export function pressOf(ctx: StepContext): string {
  return hash(canonicalJson(ctx.secrets)).slice(0, 12);
}
