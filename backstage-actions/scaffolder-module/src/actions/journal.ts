/**
 * What a step remembers across recovery and retry, in the task's checkpoints.
 * Knows how checkpoints behave; knows nothing of HTTP.
 *
 * The scaffolder runs an interrupted or retried step again from its top: call that one
 * execution. A checkpoint stored by an earlier execution can be read but not changed;
 * one stored by this execution can be written again (plugin-scaffolder-backend 4.2.0,
 * NunjucksWorkflowRunner: stored values are read once, before the handler). So each
 * execution has a record of its own, under `submit.<fingerprint>`, `….2`, `….3` …
 */
import type { StepContext } from './step';

/** How far one execution has come. */
export interface Place {
  readonly runId: string;
  /** The lines of events up to this number are in the task's log. */
  readonly after: number;
}

const SAVE_EVERY_MS = 2000;

export class Journal {
  #place: Place | undefined;
  #timer: NodeJS.Timeout | undefined;
  #saving: Promise<void> = Promise.resolve();

  private constructor(
    private readonly ctx: StepContext,
    private readonly key: string,
    private readonly endKey: string,
  ) {}

  /**
   * Opens the record of this execution. `begin` gets the place of the one before, if
   * any, and whether its end was told to the user, and says where this one starts.
   */
  static async open(
    ctx: StepContext,
    fingerprint: string,
    begin: (before?: Place & { told: boolean }) => Promise<Place>,
  ): Promise<{ journal: Journal; place: Place; execution: number }> {
    let before: Place | undefined;
    for (let execution = 1; ; execution += 1) {
      let isNew = false;
      const last = before;
      const stored = await ctx.checkpoint({
        key: recordKey('submit', fingerprint, execution),
        fn: async () => {
          isNew = true;
          const told = last && (await wasTold(ctx, fingerprint, execution - 1));
          const start = await begin(last && { ...last, told: told === true });
          return { runId: start.runId, after: start.after };
        },
      });
      if (isNew) {
        const journal = new Journal(
          ctx,
          recordKey('submit', fingerprint, execution),
          recordKey('end', fingerprint, execution),
        );
        return { journal, place: stored, execution };
      }
      before = stored;
    }
  }

  /** Notes that the lines up to `place` are printed; saved within two seconds. */
  note(place: Place): void {
    this.#place = place;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#save();
    }, SAVE_EVERY_MS);
  }

  /** Writes what was noted and stops the clock. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#save();
    await this.#saving;
  }

  /** Records that the user was told of a bad end, so that a retry is a new attempt. */
  async tell(): Promise<void> {
    await this.close();
    await this.#write(this.endKey, { told: true });
  }

  #save(): void {
    const place = this.#place;
    this.#place = undefined;
    if (place) {
      const value = { runId: place.runId, after: place.after };
      this.#saving = this.#saving.then(() => this.#write(this.key, value));
    }
  }

  /** A record that cannot be written costs repeated lines after a recovery, not the step. */
  async #write(
    key: string,
    value: { runId: string; after: number } | { told: boolean },
  ): Promise<void> {
    try {
      await this.ctx.checkpoint({ key, fn: () => Promise.resolve(value) });
    } catch (error) {
      this.ctx.logger.debug(`Checkpoint ${key} not saved: ${String(error)}`);
    }
  }
}

/** Reading a missing record stores "not told": the execution it belongs to is over. */
async function wasTold(
  ctx: StepContext,
  fingerprint: string,
  execution: number,
): Promise<boolean> {
  const end = await ctx.checkpoint({
    key: recordKey('end', fingerprint, execution),
    fn: () => Promise.resolve({ told: false }),
  });
  return end.told;
}

function recordKey(kind: string, fingerprint: string, execution: number) {
  const suffix = execution === 1 ? '' : `.${execution}`;
  return `${kind}.${fingerprint}${suffix}`;
}
