/**
 * The log of one task as the scaffolder has stored it, read over the scaffolder's own route.
 * Knows `GET /v2/tasks/{id}/events` (plugin-scaffolder-backend 4.2.0); knows nothing of runs.
 */
import type {
  AuthService,
  DiscoveryService,
} from '@backstage/backend-plugin-api';
import { readJson, send } from './client/http';
import { isObject, type Level } from './client/wire';
import { serviceToken } from './session';

const READ_MS = 10_000;
const TOKEN_MS = 300_000; // Backstage's plugin tokens are good for an hour
// winston's simple format with colours: `␛[32minfo␛[39m: text`
const LOGGED =
  /^(?:(?:\u001b\[\d+m)*(?<level>error|warn|info|debug)(?:\u001b\[\d+m)*: )?(?<text>.*)$/s;

/** One stored entry. */
export interface LogEntry {
  /** Grows within a task, with gaps. */
  readonly id: number;
  /** The step that wrote it; `undefined` for the task's own entries. */
  readonly stepId: string | undefined;
  /** What it was logged as; `undefined` for what no logger wrote. */
  readonly level: Level | undefined;
  /** What was given to the logger, secrets replaced by `***`. */
  readonly text: string;
  /** The task is executed anew from here on, after a recovery or a retry. */
  readonly anew: boolean;
  /** The log starts over here: what was before is shown to nobody any more. */
  readonly startsOver: boolean;
}

export interface TaskLog {
  /** The entries after `id`, or all that are shown, at once. Throws when they cannot be read. */
  read(id?: number): Promise<LogEntry[]>;
}

/** Reads as the scaffolder itself: the user's own session may have ended. */
export class ScaffolderLog implements TaskLog {
  #token = '';
  #mintedAt = 0;

  constructor(
    private readonly auth: AuthService,
    private readonly discovery: DiscoveryService,
    private readonly taskId: string,
  ) {}

  async read(id?: number): Promise<LogEntry[]> {
    const base = await this.discovery.getBaseUrl('scaffolder');
    const url = new URL(
      `${base}/v2/tasks/${encodeURIComponent(this.taskId)}/events`,
    );
    if (id !== undefined) {
      // Nothing new would be waited for: asked for one that is there, it answers at once.
      url.searchParams.set('after', String(id - 1));
    }
    const token = await this.#currentToken();
    const response = await send(url, {
      headers: {
        accept: 'application/json',
        ...(token && { authorization: `Bearer ${token}` }),
      },
      signal: AbortSignal.timeout(READ_MS),
    });
    const entries = parseEntries(await readJson(response));
    return entries.filter(entry => id === undefined || entry.id > id);
  }

  async #currentToken(): Promise<string> {
    if (Date.now() - this.#mintedAt > TOKEN_MS) {
      this.#token = await serviceToken(this.auth, 'scaffolder');
      this.#mintedAt = Date.now();
    }
    return this.#token;
  }
}

function parseEntries(body: unknown): LogEntry[] {
  if (!Array.isArray(body)) {
    throw new Error('the scaffolder answered without events');
  }
  return body.filter(isObject).map(event => {
    const { message, stepId, recoverStrategy } = isObject(event.body)
      ? event.body
      : {};
    const { level, text = '' } =
      LOGGED.exec(typeof message === 'string' ? message : '')?.groups ?? {};
    return {
      id: Number(event.id),
      stepId: typeof stepId === 'string' ? stepId : undefined,
      level: level as Level | undefined,
      text,
      anew: event.type === 'recovered',
      startsOver: event.type === 'recovered' && recoverStrategy === 'startOver',
    };
  });
}
