/**
 * What ends a step before its run does: the task's cancel, and the longest wait.
 * Knows time and the cancel route; prints nothing but what it asks for.
 */
import type { BridgeClient } from '../client/bridgeClient';
import { persist } from '../client/retry';
import type { Run } from '../client/wire';
import { StepError, toStepError } from '../errors';
import type { Settings } from '../settings';
import type { StepContext } from './step';

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The limits of one step; `stop` must be called when it is over. */
export class Limits {
  readonly #controller = new AbortController();
  readonly #onCancel = () => void this.#cancel();
  #timer: NodeJS.Timeout;

  constructor(
    private readonly ctx: StepContext,
    private readonly client: BridgeClient,
    private readonly settings: Settings,
    private readonly run: Run,
    job: { readonly action: string; readonly maxWaitSeconds: number },
  ) {
    const { action, maxWaitSeconds } = job;
    this.#timer = this.#endAfter(
      maxWaitSeconds * 1000,
      'WaitExceeded',
      `${action} has not ended within ${maxWaitSeconds} s; it goes on without this task (run ${run.url})`,
    );
    ctx.signal?.addEventListener('abort', this.#onCancel, { once: true });
    if (ctx.signal?.aborted) {
      this.#onCancel();
    }
  }

  /** Aborts, with the `StepError` to show, when the step must not wait any longer. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** A cancelled step fails however it ended. */
  throwIfCancelled(ended: Run): void {
    if (!this.ctx.signal?.aborted) {
      return;
    }
    throw new StepError(
      'Cancelled',
      ended.status === 'succeeded'
        ? `The task was cancelled, but its run had already succeeded (run ${ended.url})`
        : `The task was cancelled and its run has ended: ${ended.status} (run ${ended.url})`,
    );
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.ctx.signal?.removeEventListener('abort', this.#onCancel);
    this.#controller.abort();
  }

  async #cancel(): Promise<void> {
    const { cancelMs } = this.settings;
    this.ctx.logger.warn('Cancelling: asking the bridge to stop the workflow.');
    clearTimeout(this.#timer);
    this.#timer = this.#endAfter(
      cancelMs,
      'Cancelled',
      `The task was cancelled; its run is still ending (run ${this.run.url})`,
    );
    try {
      await persist(() => this.client.cancel(this.run.id), {
        limitMs: cancelMs,
        signal: this.signal,
        onLost: () =>
          this.ctx.logger.warn('The bridge is not reachable; retrying.'),
      });
    } catch (error) {
      const { message } = toStepError(error, 'cancel');
      this.#controller.abort(
        new StepError(
          'CancelFailed',
          `The run could not be cancelled and goes on (run ${this.run.url}): ${message}`,
        ),
      );
    }
  }

  #endAfter(ms: number, name: string, message: string): NodeJS.Timeout {
    return setTimeout(
      () => this.#controller.abort(new StepError(name, message)),
      Math.min(ms, LONGEST_TIMER_MS),
    );
  }
}
