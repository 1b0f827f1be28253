/**
 * How far this step has shown its run, kept at the bridge: the memory for a task whose log
 * cannot be read, and for lines the bridge has removed meanwhile.
 * Knows the reader's name; the log itself, where it can be read, decides what is shown.
 */
import type { BridgeClient } from '../client/bridgeClient';
import { persist } from '../client/retry';
import { BridgeProblem } from '../errors';
import type { Settings } from '../settings';
import type { Step } from './step';

const LONGEST_READER = 200;

/** The reader's name at the bridge; what is not a visible character becomes `_`. */
export function readerOf({ request, fingerprint }: Step): string {
  const { taskId, stepId } = request.context;
  const room = LONGEST_READER - taskId.length - fingerprint.length - 2;
  const step = stepId.replace(/[^\x21-\x7e]/g, '_').slice(0, room);
  return `${taskId}:${step}:${fingerprint}`;
}

export class Cursor {
  #noted = 0;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> = Promise.resolve();

  private constructor(
    private readonly client: BridgeClient,
    private readonly runId: string,
    private readonly reader: string,
    /** Everything up to this number was shown by an earlier execution of the step. */
    readonly start: number,
    private readonly storedMs: number,
    private supported: boolean,
  ) {}

  /** Never throws: a bridge that keeps no cursors, or is away, costs this memory only. */
  static async open(
    client: BridgeClient,
    runId: string,
    reader: string,
    { requestMs, storedMs }: Settings,
  ): Promise<Cursor> {
    const open = (start: number, supported: boolean) =>
      new Cursor(client, runId, reader, start, storedMs, supported);
    try {
      const start = await persist(() => client.acknowledged(runId, reader), {
        limitMs: requestMs,
      });
      return open(start, true);
    } catch (error) {
      return open(0, !isMissing(error));
    }
  }

  /** Notes that everything up to `seq` was printed; sent after `storedMs`, when it is stored too. */
  note(seq: number): void {
    this.#noted = seq;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#send(seq);
      if (this.#noted > seq) {
        this.note(this.#noted);
      }
    }, this.storedMs);
  }

  /** Stops; `stored` says that what was noted is in the log, so that it can be sent now. */
  async close({ stored }: { stored: boolean }): Promise<void> {
    if (this.#timer && stored) {
      this.#send(this.#noted);
    }
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#sending;
  }

  #send(seq: number): void {
    this.#sending = this.#sending.then(async () => {
      if (this.supported) {
        try {
          await this.client.acknowledge(this.runId, this.reader, seq);
        } catch (error) {
          this.supported = !isMissing(error);
        }
      }
    });
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof BridgeProblem && [404, 405].includes(error.status);
}
