/**
 * Which lines of a run a task's log has already.
 * Knows how the lines of several runs share a log; reads and prints nothing.
 */
import type { Level, Run } from '../client/wire';
import type { LogEntry } from '../taskLog';

// The whole of what `announcement` writes: a run may say `Run 1 of 3: passed` itself.
const ANNOUNCED =
  /^(?:Run (\S+) of \S+(?: \(attempt \d+\))?: \S*\/\S*|Re-attached to run (\S+); earlier lines are above\.)$/;

/** What is logged at once; `text` may be several lines. */
export interface Line {
  readonly level: Level;
  readonly text: string;
}

type LoggedLine = Pick<LogEntry, 'level' | 'text'>;

/** The line that opens a run's part of the log. */
export function announcement(run: Run, action: string, again: boolean): string {
  if (again) {
    return `Re-attached to run ${run.id}; earlier lines are above.`;
  }
  const attempt = run.attempt > 1 ? ` (attempt ${run.attempt})` : '';
  return `Run ${run.id} of ${action}${attempt}: ${run.url}`;
}

/**
 * The lines of one run that are in the log, in its order, each to be taken once. An entry
 * belongs to the run that was announced last before it in its step: the items of an `each`
 * and the attempts of a retry follow one another under one step id.
 */
export class Shown {
  /** Whether the run was announced: its part of the log has begun. */
  readonly announced: boolean;
  readonly #lines: readonly LoggedLine[];
  #at = 0;

  constructor(entries: readonly LogEntry[], stepId: string, runId: string) {
    const lines: LoggedLine[] = [];
    let current: string | undefined;
    let announced = false;
    for (const { level, text } of entries.filter(e => e.stepId === stepId)) {
      const [, first, again] = ANNOUNCED.exec(text) ?? [];
      const opened = first ?? again;
      current = opened ?? current;
      announced ||= opened === runId;
      if (opened === undefined && current === runId) {
        lines.push(...text.split('\n').map(line => ({ level, text: line })));
      }
    }
    this.announced = announced;
    this.#lines = lines;
  }

  /** Whether the log has the line after what was taken before; all up to there is then used up. */
  take({ level, text }: Line): boolean {
    const wanted = text.split('\n');
    const last = this.#lines.length - wanted.length;
    for (let at = this.#at; at <= last; at += 1) {
      const isHere = wanted.every((line, n) => {
        const logged = this.#lines[at + n];
        return logged?.level === level && isLoggedAs(line, logged.text);
      });
      if (isHere) {
        this.#at = at + wanted.length;
        return true;
      }
    }
    return false;
  }
}

/** Whether the log may hold `text` as `stored`: the scaffolder writes `***` for a secret. */
export function isLoggedAs(text: string, stored: string): boolean {
  if (text === stored) {
    return true;
  }
  const parts = stored.split('***');
  const last = parts.pop() ?? '';
  let at = 0;
  for (const [index, part] of parts.entries()) {
    const found = index === 0 ? 0 : text.indexOf(part, at);
    if (found < 0 || !text.startsWith(part, found)) {
      return false;
    }
    at = found + part.length;
  }
  return (
    parts.length > 0 && text.length - last.length >= at && text.endsWith(last)
  );
}
