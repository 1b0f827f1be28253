/**
 * One run's events in order, each once, across lost connections, in the batches they come in.
 * Knows resuming and backing off; knows nothing of the scaffolder.
 */
import { isTransient } from '../errors';
import type { BridgeClient } from './bridgeClient';
import { backOff, pause } from './retry';
import type { RunEvent } from './wire';

const FIRST_DELAY_MS = 2000; // until the server has sent its own `retry:`

/** What the follower tells while it works. */
export interface FollowHooks {
  /** The connection was lost; called once per outage. */
  onLost: () => void;
  /** Events come again after `onLost`. */
  onBack: () => void;
}

/**
 * Yields every event after `after` up to and with `done`; ends early when the bridge has
 * no more to send (the caller then reads the run). Reconnects for as long as `signal`
 * lets it. Throws the reason of `signal`, or a failure that waiting does not cure.
 */
export async function* follow(
  client: BridgeClient,
  runId: string,
  options: { after: number; signal: AbortSignal } & FollowHooks,
): AsyncGenerator<RunEvent[]> {
  const { signal } = options;
  let seq = options.after;
  let retryMs = FIRST_DELAY_MS;
  let failures = 0;
  let lost = false;
  const onRetry = (ms: number) => {
    retryMs = ms;
  };
  for (;;) {
    try {
      const events = await client.openEvents(runId, seq, { signal, onRetry });
      if (!events) {
        return;
      }
      for await (const batch of events) {
        failures = 0;
        if (lost) {
          lost = false;
          options.onBack();
        }
        // What was sent again after a reconnect is left out.
        const fresh = batch.filter(event => event.seq > seq);
        seq = fresh.at(-1)?.seq ?? seq;
        yield fresh;
        if (fresh.some(event => event.type === 'done')) {
          return;
        }
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!isTransient(error)) {
        throw error;
      }
      if (!lost) {
        lost = true;
        options.onLost();
      }
    }
    await pause(backOff(retryMs, failures), signal);
    failures += 1;
  }
}
