/** Following a run: lines, outputs, lost connections, the end. */
import { mockServices, registerMswTestHooks } from '@backstage/backend-test-utils';
import { setupServer } from 'msw/node';
import {
  doneFrame,
  FakeBridge,
  FAILED,
  frame,
  SETTINGS,
  SOON,
  SUCCEEDED,
} from '../testing/bridge';
import { FakeTask } from '../testing/scaffolder';
import { runAction, type Job } from './runAction';

const JOB: Job = {
  action: 'namespace:create',
  input: { namespaceName: 'team-a-dev' },
  wait: true,
  maxWaitSeconds: 60,
};

const server = setupServer();
registerMswTestHooks(server);
let bridge: FakeBridge;
const deps = { auth: mockServices.auth(), settings: SETTINGS };

beforeEach(() => {
  bridge = new FakeBridge();
  bridge.nextRuns.push('run-1', 'run-2');
  server.use(...bridge.handlers);
});

describe('a run that succeeds', () => {
  beforeEach(() => {
    bridge.runs.set('run-1', SUCCEEDED);
    bridge.streams.push({
      text:
        frame(1, '● validate running') +
        frame(2, '', { type: 'status' }) +
        frame(3, 'quota is high', { level: 'warn' }) +
        doneFrame(4, '✓ namespace:create succeeded (42 s)'),
      then: 'close',
    });
  });

  it('shows each line at its level and gives the outputs', async () => {
    /** The user reads the run in the task log and the template can use its outputs. */
    const { ctx, lines, outputs } = new FakeTask().execute();
    await runAction(ctx, deps, JOB);
    expect(lines).toEqual([
      'info: Run run-1 of namespace:create: http://bridge.test/v1/runs/run-1',
      'info: ● validate running',
      'warn: quota is high',
      'info: ✓ namespace:create succeeded (42 s)',
    ]);
    expect(outputs).toEqual({
      runId: 'run-1',
      runUrl: 'http://bridge.test/v1/runs/run-1',
      status: 'succeeded',
      workflowName: 'namespace-create-run-1',
      entityRef: 'resource:default/team-a-dev',
      namespace: 'team-a-dev',
    });
  });

  it('tells the bridge who, where and what, and no secret', async () => {
    const { ctx } = new FakeTask().execute({ secrets: { apiKey: 'hidden' } });
    await runAction(ctx, deps, JOB);
    const [post] = bridge.requests('POST', '/v1/runs');
    expect(post?.body).toEqual({
      action: 'namespace:create',
      input: { namespaceName: 'team-a-dev' },
      context: {
        taskId: 'task-1',
        stepId: 'create',
        template: 'template:default/namespace-create',
      },
    });
    expect(post?.headers.get('idempotency-key')).toMatch(/^scaffolder-\w{64}$/);
    const token = post?.headers.get('authorization');
    expect(token).toContain('"targetPluginId":"argo-bridge"');
    expect(token).toContain('user:default/mock');
    expect(JSON.stringify(bridge.asked)).not.toMatch(/hidden|user-secret/);
  });
});
