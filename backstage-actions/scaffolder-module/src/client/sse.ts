/**
 * Reads server-sent events from a response body and notices when it has gone silent.
 * Knows the event stream format; knows nothing of runs.
 */
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { BridgeProtocolError } from '../errors';

const LARGEST_EVENT = 1024 * 1024;

/** Aborts `signal` when it was not fed for a while; one per connection. */
export class Watchdog {
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Starts the clock again. */
  feed(ms: number): void {
    this.stop();
    this.#timer = setTimeout(() => {
      this.#controller.abort(
        new DOMException(`nothing came for ${ms} ms`, 'TimeoutError'),
      );
    }, ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/**
 * Yields the complete events of each chunk; what is cut in its middle is dropped, as the format asks.
 * `onBytes` is called for every chunk, heartbeats included; `onRetry` with the server's
 * delay in milliseconds. Throws what the body throws, the reason of `signal`, or
 * `BridgeProtocolError`.
 */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  options: {
    signal: AbortSignal;
    onBytes: () => void;
    onRetry: (ms: number) => void;
  },
): AsyncGenerator<EventSourceMessage[]> {
  const ready: EventSourceMessage[] = [];
  let failure: BridgeProtocolError | undefined;
  const parser = createParser({
    maxBufferSize: LARGEST_EVENT,
    onEvent: event => ready.push(event),
    onRetry: options.onRetry,
    onError: error => {
      if (error.type === 'max-buffer-size-exceeded') {
        failure = new BridgeProtocolError(
          'the bridge sent an event over 1 MiB',
        );
      }
    },
  });
  const { signal } = options;
  const texts = body.pipeThrough(new TextDecoderStream(), { signal });
  for await (const text of texts as AsyncIterable<string>) {
    options.onBytes();
    parser.feed(text);
    if (failure) {
      throw failure;
    }
    if (ready.length > 0) {
      yield ready.splice(0);
    }
  }
}
