/**
 * Tells apart the items of an `each` that have equal input.
 * Knows that the scaffolder gives all items of a step one logger; knows no input.
 */

/** Counts how often a step has asked for the same thing. */
export class Occurrences {
  readonly #counts = new WeakMap<object, Map<string, number>>();

  /**
   * 0 for the first item with this fingerprint, 1 for the second … `execution` is the
   * object that one execution of a step has for itself: its logger
   * (plugin-scaffolder-backend 4.2.0, NunjucksWorkflowRunner). The items come in the same
   * order when the step is executed again.
   */
  next(execution: object, fingerprint: string): number {
    const counts = this.#counts.get(execution) ?? new Map<string, number>();
    this.#counts.set(execution, counts);
    const count = counts.get(fingerprint) ?? 0;
    counts.set(fingerprint, count + 1);
    return count;
  }
}
