/**
 * Waiting and asking again.
 * Knows time and which failures pass; knows no route of the bridge.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BridgeProblem, isTransient } from '../errors';

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;

/** A random delay of up to `base · 2^failures`, at most 30 s: many clients come back spread out. */
export function backOff(baseMs: number, failures: number): number {
  const ceiling = Math.min(LONGEST_DELAY_MS, baseMs * 2 ** failures);
  return ceiling * (0.5 + Math.random() / 2);
}

/** Waits; throws the reason of `signal` as soon as that aborts. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { ...(signal && { signal }) });
  } catch {
    signal?.throwIfAborted();
  }
}

/**
 * Calls until it succeeds, fails for good, or `limitMs` have passed; `onLost` is told of
 * the first failure only. Throws the last failure, or the reason of `signal`.
 */
export async function persist<T>(
  call: () => Promise<T>,
  options: { limitMs: number; signal?: AbortSignal; onLost?: () => void },
): Promise<T> {
  const deadline = Date.now() + options.limitMs;
  for (let failures = 0; ; failures += 1) {
    options.signal?.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      const delay = delayAfter(error, failures);
      if (!isTransient(error) || Date.now() + delay >= deadline) {
        throw error;
      }
      if (failures === 0) {
        options.onLost?.();
      }
      await pause(delay, options.signal);
    }
  }
}

function delayAfter(error: unknown, failures: number): number {
  const asked = error instanceof BridgeProblem ? error.retryAfterMs : undefined;
  const limited = Math.min(asked ?? 0, LONGEST_DELAY_MS);
  return Math.max(limited, backOff(FIRST_DELAY_MS, failures));
}
