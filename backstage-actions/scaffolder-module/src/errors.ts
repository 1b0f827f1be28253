/**
 * What can go wrong between Backstage and the bridge, and how a user reads it.
 * Knows the bridge's problem documents; knows nothing of fetch or the scaffolder.
 */

/** One field the bridge refused. */
export interface FieldError {
  /** JSON Pointer into the input, e.g. `/namespaceName`. */
  readonly pointer: string;
  readonly message: string;
}

/** The bridge answered with an RFC 9457 problem document, or an error status without one. */
export class BridgeProblem extends Error {
  override readonly name = 'BridgeProblem';
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly errors: readonly FieldError[] = [],
    readonly suggestions: readonly string[] = [],
    readonly retryAfterMs: number | undefined = undefined,
  ) {
    super(`${status} ${code}: ${detail}`);
  }
}

/** No answer: refused, reset, timed out, or cut short. */
export class BridgeUnreachable extends Error {
  override readonly name = 'BridgeUnreachable';
}

/** An answer that is not what the contract says: another service, or another version. */
export class BridgeProtocolError extends Error {
  override readonly name = 'BridgeProtocolError';
}

/** The user's Backstage credentials cannot be used any more. */
export class SessionExpired extends Error {
  override readonly name = 'SessionExpired';
}

/**
 * The failure of a step, in one sentence. Backstage prints `stack` to the user,
 * so it holds no frames.
 */
export class StepError extends Error {
  constructor(name: string, message: string) {
    super(message);
    this.name = name;
    this.stack = `${name}: ${message}`;
  }
}

/** Whether the same request may succeed a moment later. */
export function isTransient(error: unknown): boolean {
  if (error instanceof BridgeProblem) {
    return error.status === 429 || error.status >= 500;
  }
  return error instanceof BridgeUnreachable;
}

/** Turns any failure into the sentence shown in the task. */
export function toStepError(error: unknown, actionId: string): StepError {
  if (error instanceof StepError) {
    return error;
  }
  if (error instanceof BridgeProblem) {
    return new StepError(...describeProblem(error, actionId));
  }
  if (error instanceof SessionExpired) {
    return new StepError(
      'SessionExpired',
      'Your Backstage session has ended; sign in again and retry the task.',
    );
  }
  if (error instanceof BridgeUnreachable) {
    return new StepError('BridgeUnreachable', error.message);
  }
  const text = error instanceof Error ? error.message : String(error);
  return new StepError('BridgeError', `${actionId} could not be run: ${text}`);
}

function describeProblem(
  problem: BridgeProblem,
  actionId: string,
): [name: string, message: string] {
  if (problem.errors.length > 0) {
    const fields = problem.errors.map(
      ({ pointer, message }) => `${fieldName(pointer)}: ${message}`,
    );
    return [
      'InputRejected',
      `The bridge refused the input of ${actionId}: ${fields.join('; ')}`,
    ];
  }
  if (problem.code === 'action_unknown') {
    const hint = problem.suggestions.length
      ? ` Did you mean ${problem.suggestions.join(' or ')}?`
      : '';
    return ['ActionUnknown', `The bridge has no action "${actionId}".${hint}`];
  }
  if (problem.code === 'lock_held') {
    return ['LockHeld', problem.detail];
  }
  if (problem.status === 401) {
    return [
      'NotAuthenticated',
      'The bridge did not accept the credentials of this Backstage; check argoBridge.pluginId or argoBridge.token.',
    ];
  }
  if (problem.status === 403) {
    return ['NotAllowed', `You may not run ${actionId}: ${problem.detail}`];
  }
  return ['BridgeError', `The bridge refused ${actionId}: ${problem.detail}`];
}

/** `/spec/ports/0` → `spec.ports.0` (RFC 6901 escapes undone). */
function fieldName(pointer: string): string {
  const parts = pointer.split('/').slice(1);
  const names = parts.map(p => p.replaceAll('~1', '/').replaceAll('~0', '~'));
  return names.join('.') || 'input';
}
