/**
 * Prints the lines of a run into the task's log, each once and in order, also when the
 * backend is killed at any moment. Knows logs and events; knows nothing of HTTP.
 *
 * The logger stores a line without waiting for it, on PostgreSQL over several connections
 * at once: lines of one moment arrive in any order, and a kill loses any of them
 * (plugin-scaffolder-backend 4.2.0, `tasks/logger`; measured: 31 of 200 lines out of
 * order). So each entry is read back before the next is printed, and what the log has
 * when a step begins is what its user has seen.
 *
 * A backend that stalls for longer than `scaffolder.taskRecovery.staleTimeout` goes on
 * with a task that another execution has taken over meanwhile. The log tells that too.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunEvent } from '../client/wire';
import { cleanLine } from '../lines';
import type { LogEntry, TaskLog } from '../taskLog';
import type { Cursor } from './cursor';
import { isLoggedAs, Shown, type Line } from './shown';
import type { StepContext } from './step';

const FIRST_LOOK_MS = 10;
const LATEST_LOOK_MS = 100;
const MOST_SINGLE_LINES = 16;
const LONGEST_ENTRY = 32_000;

/** Another execution of this step has begun: this one must say nothing any more. */
export class TakenOver extends Error {
  override readonly name = 'TakenOver';
}

export class Printer {
  /** The number of the event after which the run's events are needed. */
  readonly after: number;
  /**
   * `sure`: every entry is seen in the log. `unreadable`: the log could not be read at
   * the start. `blind`: an entry was not seen in time, e.g. because `LOG_LEVEL` drops it.
   */
  #sight: 'sure' | 'unreadable' | 'blind';
  #last: number;
  #lookedAt = Date.now();
  #takenOver = false;
  readonly #known: number;
  readonly #shown: Shown;

  private constructor(
    private readonly ctx: StepContext,
    private readonly log: TaskLog,
    private readonly cursor: Cursor,
    private readonly storedMs: number,
    runId: string,
    entries: readonly LogEntry[] | undefined,
  ) {
    this.#sight = entries ? 'sure' : 'unreadable';
    this.#last = entries?.at(-1)?.id ?? 0;
    this.#shown = new Shown(entries ?? [], ctx.step?.id ?? '', runId);
    const startsOver = entries?.some(entry => entry.startsOver) ?? false;
    this.#known = startsOver ? 0 : cursor.start;
    // Comparing needs the run from its beginning; the cursor alone does not.
    this.after = entries ? 0 : this.#known;
  }

  /** Reads the log; one that cannot be read leaves the cursor as the only memory. */
  static async open(
    ctx: StepContext,
    log: TaskLog,
    cursor: Cursor,
    options: { runId: string; storedMs: number },
  ): Promise<Printer> {
    const entries = await log.read().catch((error: unknown) => {
      ctx.logger.debug(`The task's log cannot be read: ${String(error)}`);
      return undefined;
    });
    const { runId, storedMs } = options;
    return new Printer(ctx, log, cursor, storedMs, runId, entries);
  }

  /** Whether the run was announced in what the user sees; `undefined` when nobody knows. */
  get announced(): boolean | undefined {
    return this.#sight === 'unreadable' ? undefined : this.#shown.announced;
  }

  /** Prints a line of the module's own. Throws `TakenOver`. */
  async say(text: string): Promise<void> {
    await this.#print({ level: 'info', text });
  }

  /** Prints what the log does not have yet; returns when it is stored. Throws `TakenOver`. */
  async show(events: readonly RunEvent[]): Promise<void> {
    const fresh: Line[] = [];
    for (const { seq, level, message } of events) {
      const line = { level, text: cleanLine(message) };
      if (line.text && !this.#shown.take(line) && seq > this.#known) {
        fresh.push(line);
      }
    }
    for (const line of entriesOf(fresh)) {
      await this.#print(line);
    }
    const seq = events.at(-1)?.seq ?? 0;
    if (this.#sight !== 'blind' && seq > this.#known) {
      this.cursor.note(seq);
    }
  }

  /** Sends the cursor where the log is known to have everything, and stops. Throws `TakenOver`. */
  async close(): Promise<void> {
    await this.cursor.close({ stored: this.#sight === 'sure' });
    await this.#look();
  }

  async #print({ level, text }: Line): Promise<void> {
    if (Date.now() - this.#lookedAt > LATEST_LOOK_MS) {
      await this.#look();
    }
    this.ctx.logger[level](text);
    if (
      this.#sight === 'sure' &&
      level !== 'debug' &&
      !(await this.#seen(text))
    ) {
      this.#sight = 'blind';
    }
  }

  async #seen(text: string): Promise<boolean> {
    const deadline = Date.now() + this.storedMs;
    for (let wait = FIRST_LOOK_MS; Date.now() < deadline; wait *= 2) {
      const entries = await this.#look();
      const entry = entries.find(e => isLoggedAs(text, e.text));
      if (entry) {
        this.#last = entry.id;
        return true;
      }
      await sleep(wait);
    }
    return false;
  }

  /** What came since the last line; nothing when it cannot be read. */
  async #look(): Promise<LogEntry[]> {
    if (this.#sight === 'unreadable') {
      return [];
    }
    const began = Date.now();
    const entries = await this.log.read(this.#last).catch(() => []);
    this.#takenOver ||= entries.some(entry => entry.anew);
    if (this.#takenOver) {
      throw new TakenOver();
    }
    this.#lookedAt = began;
    return entries;
  }
}

/**
 * One entry a line; where many lines wait at once, as many to an entry as it may hold,
 * since each entry is waited for.
 */
function entriesOf(lines: readonly Line[]): Line[] {
  if (lines.length <= MOST_SINGLE_LINES) {
    return [...lines];
  }
  const entries: Line[] = [];
  for (const line of lines) {
    const last = entries.at(-1);
    if (last && fits(last, line)) {
      entries[entries.length - 1] = {
        level: last.level,
        text: `${last.text}\n${line.text}`,
      };
    } else {
      entries.push(line);
    }
  }
  return entries;
}

function fits(entry: Line, line: Line): boolean {
  const length = entry.text.length + line.text.length;
  return entry.level === line.level && length < LONGEST_ENTRY;
}
