/**
 * The trace that a task's step is in, if this Backstage records any.
 * Knows the API of OpenTelemetry, an optional peer; knows no route of the bridge.
 */
const loading = import('@opentelemetry/api').catch(() => undefined);

/** The header that lets the bridge go on in the active trace; nothing without one. */
export async function traceHeaders(): Promise<{ traceparent?: string }> {
  const api = await loading;
  const carrier: Record<string, unknown> = {};
  api?.propagation.inject(api.context.active(), carrier);
  const { traceparent } = carrier; // baggage may hold anything, so it stays here
  return typeof traceparent === 'string' ? { traceparent } : {};
}
