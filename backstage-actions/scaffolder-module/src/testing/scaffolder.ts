/**
 * The scaffolder as an action sees it, with checkpoints that behave like the real ones.
 * For tests only.
 */
import { createMockActionContext } from '@backstage/plugin-scaffolder-node-test-utils';
import { mockServices } from '@backstage/backend-test-utils';
import type { JsonObject, JsonValue } from '@backstage/types';
import { Occurrences } from '../actions/occurrences';
import type { Deps } from '../actions/runAction';
import type { StepContext } from '../actions/step';
import type { Level } from '../client/wire';
import type { LogEntry, TaskLog } from '../taskLog';
import { SETTINGS } from './bridge';

interface Options {
  readonly input?: JsonObject;
  readonly signal?: AbortSignal;
  readonly isDryRun?: boolean;
  readonly secrets?: Record<string, string>;
}

/** One execution of a step: its context, and what it logged and gave out. */
export interface Execution {
  readonly ctx: StepContext;
  /** `level: message` in order. */
  readonly lines: string[];
  readonly outputs: Record<string, unknown>;
}

const logs = new WeakMap<StepContext, TaskLog>();

/** What the handlers share, with the logs of the fake tasks. */
export const DEPS: Deps = {
  auth: mockServices.auth(),
  settings: SETTINGS,
  occurrences: new Occurrences(),
  openLog: ctx => {
    const log = logs.get(ctx);
    return log ?? { read: () => Promise.reject(new Error('no such task')) };
  },
};

/** One task of the scaffolder; its checkpoints and its log outlive the executions of its step. */
export class FakeTask implements TaskLog {
  readonly stored = new Map<string, JsonValue | void>();
  /** What is stored of the log; a kill is a test that takes some of it away. */
  entries: LogEntry[] = [];
  readable = true;
  /** How the log shows a line, e.g. with secrets replaced; `undefined` for one that is dropped. */
  filter: (text: string) => string | undefined = text => text;
  #lastId = 0;

  read(id = 0): Promise<LogEntry[]> {
    return this.readable
      ? Promise.resolve(this.entries.filter(entry => entry.id > id))
      : Promise.reject(new Error('the log cannot be read'));
  }

  store(text: string, more: Partial<LogEntry> = {}): void {
    this.#lastId += 1;
    this.entries.push({
      id: this.#lastId,
      stepId: 'create',
      level: 'info',
      text,
      anew: false,
      startsOver: false,
      ...more,
    });
  }

  /**
   * Starts the step from its top. Values stored by earlier executions are given back;
   * those of this one are written again (plugin-scaffolder-backend 4.2.0).
   */
  execute(options: Options = {}): Execution {
    const before = new Map(this.stored);
    const lines: string[] = [];
    const outputs: Record<string, unknown> = {};
    const print = (level: Level) => (message: string, meta?: unknown) => {
      lines.push(`${level}: ${message}`);
      const text = this.filter(message);
      if (text !== undefined && level !== 'debug') {
        this.store(text, { level });
      }
      expect(meta).toBeUndefined(); // Backstage would append it to the line as JSON
    };
    const mock = createMockActionContext({
      workspacePath: '/nowhere',
      task: { id: 'task-1' },
      input: options.input ?? { namespaceName: 'team-a-dev' },
      secrets: { backstageToken: 'user-secret', ...options.secrets },
      templateInfo: { entityRef: 'template:default/namespace-create' },
    });
    const ctx: StepContext = {
      ...mock,
      step: { id: 'create', name: 'Create' },
      logger: mockServices.logger.mock({
        debug: print('debug'),
        info: print('info'),
        warn: print('warn'),
        error: print('error'),
      }),
      output: (name, value) => {
        outputs[name] = value;
      },
      checkpoint: async ({ key, fn }) => {
        const value = before.has(key) ? before.get(key) : await fn();
        this.stored.set(key, value);
        return value as Awaited<ReturnType<typeof fn>>;
      },
      ...(options.signal && { signal: options.signal }),
      ...(options.isDryRun && { isDryRun: true }),
    };
    logs.set(ctx, this);
    return { ctx, lines, outputs };
  }
}
