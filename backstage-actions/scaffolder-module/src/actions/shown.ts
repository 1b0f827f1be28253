/**
 * Which lines of a run a task's log has already.
 * Knows how the lines of several runs share a log; reads and prints nothing.
 */
import type { Run } from '../client/wire';
import type { LogEntry } from '../taskLog';

const ANNOUNCED = /^(?:Run|Re-attached to run) ([^\s;]+)(?: of |;)/;

/** The line that opens a run's part of the log. */
export function announcement(run: Run, action: string, again: boolean): string {
  if (again) {
    return `Re-attached to run ${run.id}; earlier lines are above.`;
  }
  const attempt = run.attempt > 1 ? ` (attempt ${run.attempt})` : '';
  return `Run ${run.id} of ${action}${attempt}: ${run.url}`;
}

/**
 * The lines of one run that are in the log, each to be taken as often as it is there.
 * An entry belongs to the run that was announced last before it in its step: the items
 * of an `each` and the attempts of a retry follow one another under one step id.
 */
export class Shown {
  /** Whether the run was announced: its part of the log has begun. */
  readonly announced: boolean;
  readonly #counts = new Map<string, number>();
  readonly #redacted: string[] = [];

  constructor(entries: readonly LogEntry[], stepId: string, runId: string) {
    let current: string | undefined;
    let announced = false;
    for (const { text } of entries.filter(e => e.stepId === stepId)) {
      const opened = ANNOUNCED.exec(text)?.[1];
      current = opened ?? current;
      announced ||= opened === runId;
      if (opened === undefined && current === runId) {
        text.split('\n').forEach(line => this.#add(line));
      }
    }
    this.announced = announced;
  }

  /** Whether the log has all lines of `text`; those are then used up. */
  take(text: string): boolean {
    const lines = text.split('\n');
    const taken = lines.filter(line => this.#takeLine(line));
    if (taken.length === lines.length) {
      return true;
    }
    taken.forEach(line => this.#add(line));
    return false;
  }

  #add(line: string): void {
    if (line.includes('***')) {
      this.#redacted.push(line);
    } else {
      this.#counts.set(line, (this.#counts.get(line) ?? 0) + 1);
    }
  }

  #takeLine(line: string): boolean {
    const count = this.#counts.get(line) ?? 0;
    if (count > 0) {
      this.#counts.set(line, count - 1);
      return true;
    }
    const index = this.#redacted.findIndex(stored => isLoggedAs(line, stored));
    if (index >= 0) {
      this.#redacted.splice(index, 1);
    }
    return index >= 0;
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
