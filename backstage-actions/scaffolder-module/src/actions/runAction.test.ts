/** Following a run: lines, outputs, lost connections, the end. */
import { mockServices } from '@backstage/backend-test-utils';
import { http, HttpResponse } from 'msw';
import {
  BASE_URL,
  doneFrame,
  FAILED,
  frame,
  JOB,
  playBridge,
  runDocument,
  SETTINGS,
  SOON,
  SUCCEEDED,
} from '../testing/bridge';
import { DEPS, FakeTask } from '../testing/scaffolder';
import { runAction } from './runAction';

const stage = playBridge();
const EVENTS = '/v1/runs/run-1/events';

describe('a run that succeeds', () => {
  beforeEach(() => {
    stage.bridge.runs.set('run-1', SUCCEEDED);
    stage.bridge.streams.push({
      text:
        frame(1, '● validate running') +
        frame(2, '', { type: 'status' }) +
        frame(3, 'quota is high', { level: 'warn' }) +
        doneFrame(4, '✓ namespace:create succeeded (42 s)'),
      then: 'close',
    });
  });

  it('is read line by line in the task log and gives its outputs to the template', async () => {
    const { ctx, lines, outputs } = new FakeTask().execute();
    await runAction(ctx, DEPS, JOB);
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

  it('is submitted in the name of the user, without any secret of the task', async () => {
    const { ctx } = new FakeTask().execute({ secrets: { apiKey: 'hidden' } });
    await runAction(ctx, DEPS, JOB);
    const [post] = stage.bridge.requests('POST', '/v1/runs');
    expect(post?.body).toEqual({
      action: 'namespace:create',
      input: { namespaceName: 'team-a-dev' },
      context: {
        taskId: 'task-1',
        stepId: 'create',
        template: 'template:default/namespace-create',
        attempt: expect.stringMatching(/^\w{12}$/),
      },
    });
    expect(post?.headers.get('idempotency-key')).toMatch(/^scaffolder-\w{64}$/);
    expect(post?.headers.get('authorization')).toBe(
      'Bearer mock-service-token:{"obo":"user:default/mock","target":"argo-bridge"}',
    );
    const sent = JSON.stringify(stage.bridge.asked.map(a => a.body));
    expect(sent).not.toMatch(/hidden|user-secret/);
  });

  it('is called with the static token when one is configured', async () => {
    const settings = { ...SETTINGS, token: 'service-token' };
    const { ctx } = new FakeTask().execute();
    await runAction(ctx, { ...DEPS, settings }, JOB);
    const tokens = stage.bridge.asked.map(a => a.headers.get('authorization'));
    expect(new Set(tokens)).toEqual(new Set(['Bearer service-token']));
  });
});

describe('a connection that breaks', () => {
  beforeEach(() => {
    stage.bridge.runs.set('run-1', SUCCEEDED);
  });

  it('costs no line and repeats none, even when cut in the middle of an event', async () => {
    const second = frame(2, 'zweite Zeile ✓');
    stage.bridge.streams.push(
      { text: SOON + frame(1, 'one') + second.slice(0, 40), then: 'close' },
      { text: frame(1, 'one') + second + frame(3, 'three'), then: 'close' },
      { text: doneFrame(4, 'over'), then: 'close' },
    );
    const { ctx, lines } = new FakeTask().execute();
    await runAction(ctx, DEPS, JOB);
    expect(lines.slice(1)).toEqual([
      'info: one',
      'info: zweite Zeile ✓',
      'info: three',
      'info: over',
    ]);
    expect(stage.bridge.resumedFrom).toEqual(['0', '1', '3']);
  });

  it('is told once, and its end too', async () => {
    stage.bridge.streams.push(
      { text: SOON, then: 'cut' },
      { text: SOON, then: 'cut' },
      { text: frame(1, 'one') + doneFrame(2, 'over'), then: 'close' },
    );
    const { ctx, lines } = new FakeTask().execute();
    await runAction(ctx, DEPS, JOB);
    expect(lines.slice(1)).toEqual([
      'warn: Lost the connection to the bridge; the run goes on. Reconnecting.',
      'info: Connected to the bridge again.',
      'info: one',
      'info: over',
    ]);
  });

  it('is noticed when nothing comes any more, heartbeats included', async () => {
    stage.bridge.streams.push(
      { text: SOON + frame(1, 'one'), then: 'hang' },
      { text: doneFrame(2, 'over'), then: 'close' },
    );
    const settings = { ...SETTINGS, silenceMs: 60 };
    const { ctx, lines } = new FakeTask().execute();
    await runAction(ctx, { ...DEPS, settings }, JOB);
    expect(lines).toContain('info: over');
    expect(stage.bridge.resumedFrom).toEqual(['0', '1']);
  });

  it('is opened again after an answer that asks for patience', async () => {
    stage.bridge.streams.push({
      text: SOON + frame(1, 'one'),
      then: 'close',
    });
    const { ctx, lines } = new FakeTask().execute();
    stage.server.use(
      http.get(
        BASE_URL + EVENTS,
        () => new HttpResponse('<html>', { status: 503 }),
        { once: true },
      ),
    );
    await runAction(ctx, DEPS, JOB);
    expect(lines.filter(line => line.includes('one'))).toHaveLength(1);
  });

  it('ends the step well when the bridge has nothing more to send', async () => {
    stage.bridge.streams.push('gone');
    const { ctx, outputs } = new FakeTask().execute();
    await runAction(ctx, DEPS, JOB);
    expect(outputs.namespace).toBe('team-a-dev');
  });
});

describe('a run that does not succeed', () => {
  it.each([
    [FAILED, 'RunFailed', 'namespace:create failed: The quota was refused'],
    [
      { status: 'lost', error: null },
      'RunFailed',
      'namespace:create was lost: no reason was given',
    ],
    [
      {
        status: 'cancelled',
        error: { code: 'cancelled', message: 'Stopped by alice' },
      },
      'RunCancelled',
      'namespace:create was cancelled: Stopped by alice',
    ],
  ])(
    'fails the step with one sentence and no stack: %j',
    async (end, name, why) => {
      stage.bridge.runs.set('run-1', end);
      stage.bridge.streams.push({ text: doneFrame(1, 'over'), then: 'close' });
      const { ctx, outputs } = new FakeTask().execute();
      const error = await runAction(ctx, DEPS, JOB).catch((e: unknown) => e);
      const message = `${why} (run http://bridge.test/v1/runs/run-1)`;
      expect(error).toMatchObject({ name, message });
      expect((error as Error).stack).toBe(`${name}: ${message}`);
      expect(outputs).toEqual({});
    },
  );
});

describe('how long a step lasts', () => {
  it('is over at once for an action that does not wait', async () => {
    stage.bridge.runs.set('run-1', {
      workflow: { name: 'w-1', url: 'https://argo.example/w-1' },
    });
    const { ctx, outputs } = new FakeTask().execute();
    await runAction(ctx, DEPS, { ...JOB, wait: false });
    expect(outputs).toEqual({
      runId: 'run-1',
      runUrl: 'https://argo.example/w-1',
      status: 'running',
      workflowName: 'w-1',
    });
    expect(stage.bridge.resumedFrom).toEqual([]);
  });

  it('is bounded by the longest wait of the action', async () => {
    stage.bridge.streams.push({ text: frame(1, 'one'), then: 'hang' });
    const { ctx, lines } = new FakeTask().execute();
    const step = runAction(ctx, DEPS, { ...JOB, maxWaitSeconds: 0.2 });
    await expect(step).rejects.toMatchObject({
      name: 'WaitExceeded',
      message: expect.stringContaining('has not ended within 0.2 s'),
    });
    expect(lines).toContain('info: one');
  });
});

describe('a dry run', () => {
  it('shows the workflow and example outputs and submits nothing', async () => {
    stage.server.use(
      http.post(`${BASE_URL}/v1/runs`, async ({ request }) => {
        expect(await request.json()).toMatchObject({
          context: { dryRun: true },
        });
        expect(request.headers.has('idempotency-key')).toBe(false);
        return HttpResponse.json({
          dryRun: true,
          workflow: { kind: 'Workflow' },
          outputs: { namespace: 'example' },
        });
      }),
    );
    const { ctx, lines, outputs } = new FakeTask().execute({ isDryRun: true });
    await runAction(ctx, DEPS, JOB);
    expect(lines).toEqual([
      'info: Dry run of namespace:create: nothing is submitted. The workflow would be:\nkind: Workflow\n',
    ]);
    expect(outputs).toEqual({
      runId: 'dry-run',
      status: 'dry-run',
      namespace: 'example',
    });
  });
});

describe('a user whose session ends while the run goes on', () => {
  it('still sees the run to its end', async () => {
    stage.bridge.runs.set('run-1', SUCCEEDED);
    stage.bridge.streams.push({ text: doneFrame(1, 'over'), then: 'close' });
    let refused = 0;
    stage.server.use(
      http.get(BASE_URL + EVENTS, ({ request }) => {
        if (request.headers.get('authorization')?.includes('obo')) {
          refused += 1;
          return HttpResponse.json({ code: 'token_expired' }, { status: 401 });
        }
        return undefined;
      }),
    );
    const { ctx, lines } = new FakeTask().execute();
    await runAction(ctx, DEPS, JOB);
    expect(lines.at(-1)).toBe('info: over');
    expect(refused).toBe(1);
  });

  it('is told to sign in again when nothing was submitted yet', async () => {
    const auth = mockServices.auth.mock({
      getPluginRequestToken: () => Promise.reject(new Error('expired')),
    });
    const { ctx } = new FakeTask().execute();
    await expect(runAction(ctx, { ...DEPS, auth }, JOB)).rejects.toMatchObject({
      name: 'SessionExpired',
      message: expect.stringContaining('sign in again'),
    });
  });

  it('is not let in with a token that has run out', async () => {
    const claims = Buffer.from('{"exp": 1000}').toString('base64url');
    const auth = mockServices.auth.mock({
      getPluginRequestToken: () => Promise.resolve({ token: `h.${claims}.s` }),
    });
    const { ctx } = new FakeTask().execute();
    await expect(runAction(ctx, { ...DEPS, auth }, JOB)).rejects.toMatchObject({
      name: 'SessionExpired',
    });
    expect(stage.bridge.asked).toEqual([]);
  });
});

it('refuses a bridge that stops sending although the run goes on', async () => {
  stage.server.use(
    http.get(`${BASE_URL}/v1/runs/run-1`, () =>
      HttpResponse.json(runDocument('run-1')),
    ),
  );
  const { ctx } = new FakeTask().execute();
  await expect(runAction(ctx, DEPS, JOB)).rejects.toMatchObject({
    name: 'BridgeError',
    message: expect.stringContaining('although run run-1 is running'),
  });
});
