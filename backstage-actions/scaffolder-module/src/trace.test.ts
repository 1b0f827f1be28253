/** A Backstage that records traces: the run goes on in the trace of its task. */
import { propagation } from '@opentelemetry/api';
import { runAction } from './actions/runAction';
import { JOB, playBridge, SUCCEEDED } from './testing/bridge';
import { DEPS, FakeTask } from './testing/scaffolder';

const stage = playBridge();
const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

async function submitted(): Promise<Headers | undefined> {
  stage.bridge.runs.set('run-1', SUCCEEDED);
  stage.bridge.stream('✓ namespace:create succeeded (42 s)');
  await runAction(new FakeTask().execute().ctx, DEPS, JOB);
  return stage.bridge.requests('POST', '/v1/runs')[0]?.headers;
}

describe('the trace of a task', () => {
  afterEach(() => {
    propagation.disable();
  });

  it('reaches the bridge, and nothing else that travels with it', async () => {
    propagation.setGlobalPropagator({
      inject: (_context, carrier, setter) => {
        setter.set(carrier, 'traceparent', TRACE);
        setter.set(carrier, 'baggage', 'customer=secret');
      },
      extract: context => context,
      fields: () => ['traceparent', 'baggage'],
    });
    const headers = await submitted();
    expect(headers?.get('traceparent')).toBe(TRACE);
    expect(headers?.has('baggage')).toBe(false);
  });

  it('is not made up where Backstage records none', async () => {
    expect((await submitted())?.has('traceparent')).toBe(false);
  });
});
