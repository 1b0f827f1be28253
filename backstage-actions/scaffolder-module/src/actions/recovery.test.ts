/** The same step again: after a crash, after *Retry*, for the items of an `each`. */
import { mockServices } from '@backstage/backend-test-utils';
import { http, HttpResponse } from 'msw';
import {
  BASE_URL,
  doneFrame,
  FAILED,
  frame,
  JOB,
  playBridge,
  SETTINGS,
  SUCCEEDED,
} from '../testing/bridge';
import { FakeTask } from '../testing/scaffolder';
import { runAction } from './runAction';

const stage = playBridge();
const deps = { auth: mockServices.auth(), settings: SETTINGS };

const keysSent = () =>
  stage.bridge
    .requests('POST', '/v1/runs')
    .map(({ headers }) => headers.get('idempotency-key'));

/** A task whose backend was killed after it printed `after` events of run-1. */
async function killedTask(after: number): Promise<FakeTask> {
  const task = new FakeTask();
  stage.bridge.streams.push({ text: frame(1, 'one'), then: 'hang' });
  const first = task.execute();
  await expect(
    runAction(first.ctx, deps, { ...JOB, maxWaitSeconds: 0.1 }),
  ).rejects.toThrow();
  const [key] = [...task.stored.keys()].filter(k => k.startsWith('submit.'));
  task.stored.clear();
  task.stored.set(String(key), { runId: 'run-1', after });
  stage.bridge.asked.length = 0;
  return task;
}

describe('a backend that was killed', () => {
  it('takes the same run up again where its log stopped', async () => {
    const task = await killedTask(1);
    stage.bridge.runs.set('run-1', SUCCEEDED);
    stage.bridge.streams.push({
      text: frame(2, 'two') + doneFrame(3, 'over'),
      then: 'close',
    });
    const { ctx, lines, outputs } = task.execute();
    await runAction(ctx, deps, JOB);
    expect(lines).toEqual([
      'info: Re-attached to run run-1; earlier lines are above.',
      'info: two',
      'info: over',
    ]);
    expect(outputs.namespace).toBe('team-a-dev');
    expect(keysSent()).toEqual([]);
    const [events] = stage.bridge.requests('GET', '/v1/runs/run-1/events');
    expect(events?.headers.get('last-event-id')).toBe('1');
  });

  it('tells the failure of a run that ended meanwhile and starts no other', async () => {
    const task = await killedTask(1);
    stage.bridge.runs.set('run-1', FAILED);
    stage.bridge.streams.push({ text: doneFrame(2, 'over'), then: 'close' });
    const { ctx, lines } = task.execute();
    await expect(runAction(ctx, deps, JOB)).rejects.toMatchObject({
      name: 'RunFailed',
    });
    expect(lines).toContain('info: over');
    expect(keysSent()).toEqual([]);
  });

  it('asks with the same key when the bridge has forgotten the run', async () => {
    const task = await killedTask(1);
    stage.bridge.runs.set('run-2', SUCCEEDED);
    stage.server.use(
      http.get(`${BASE_URL}/v1/runs/run-1`, () =>
        HttpResponse.json({ code: 'run_unknown' }, { status: 404 }),
      ),
    );
    stage.bridge.byKey.clear();
    const { ctx, outputs } = task.execute();
    await runAction(ctx, deps, JOB);
    expect(outputs.runId).toBe('run-2');
  });

  it('attaches to the run when it died before it could note it', async () => {
    const first = new FakeTask();
    await runAction(first.execute().ctx, deps, { ...JOB, wait: false });
    first.stored.clear();
    await runAction(first.execute().ctx, deps, { ...JOB, wait: false });
    expect(new Set(keysSent()).size).toBe(1);
    expect(stage.bridge.nextRuns).toEqual(['run-2']);
  });
});

describe('the Retry of a task', () => {
  it('makes a new attempt under the same key after a failure', async () => {
    const task = new FakeTask();
    stage.bridge.runs.set('run-1', FAILED);
    stage.bridge.streams.push({ text: doneFrame(1, 'bad'), then: 'close' });
    const first = task.execute();
    await expect(runAction(first.ctx, deps, JOB)).rejects.toThrow('failed');

    stage.bridge.runs.set('run-1', { ...FAILED, attempt: 1 });
    stage.bridge.runs.set('run-2', { ...SUCCEEDED, attempt: 2 });
    stage.bridge.streams.push({ text: doneFrame(1, 'good'), then: 'close' });
    const second = task.execute();
    await runAction(second.ctx, deps, JOB);

    expect(second.lines).toEqual([
      'info: Run run-2 of namespace:create (attempt 2): http://bridge.test/v1/runs/run-2',
      'info: good',
    ]);
    expect(second.outputs.runId).toBe('run-2');
    const [one, two] = keysSent();
    expect(one).toBe(two);
  });

  it('is a new attempt each time it is pressed', async () => {
    const task = new FakeTask();
    stage.bridge.nextRuns.push('run-3');
    for (const id of ['run-1', 'run-2', 'run-3']) {
      stage.bridge.runs.set(id, FAILED);
      const { ctx } = task.execute();
      await expect(runAction(ctx, deps, JOB)).rejects.toThrow(id);
    }
    expect(keysSent()).toHaveLength(3);
  });

  it('repeats nothing when the run had succeeded and a later step failed', async () => {
    const task = new FakeTask();
    stage.bridge.runs.set('run-1', SUCCEEDED);
    stage.bridge.streams.push({ text: doneFrame(1, 'over'), then: 'close' });
    await runAction(task.execute().ctx, deps, JOB);
    const again = task.execute();
    await runAction(again.ctx, deps, JOB);
    expect(again.lines).toEqual([
      'info: Re-attached to run run-1; earlier lines are above.',
    ]);
    expect(again.outputs.namespace).toBe('team-a-dev');
    expect(keysSent()).toHaveLength(1);
  });
});

describe('the items of an each', () => {
  it('have a run of their own, and keep it after a retry', async () => {
    const task = new FakeTask();
    stage.bridge.runs.set('run-1', SUCCEEDED);
    stage.bridge.runs.set('run-2', SUCCEEDED);
    const jobs = ['a', 'b'].map(namespaceName => ({
      ...JOB,
      input: { namespaceName },
    }));
    const ids = [];
    for (const job of [...jobs, ...jobs]) {
      const { ctx, outputs } = task.execute();
      await runAction(ctx, deps, job);
      ids.push(outputs.runId);
    }
    expect(ids).toEqual(['run-1', 'run-2', 'run-1', 'run-2']);
    expect(new Set(keysSent()).size).toBe(2);
  });

  it('do not depend on the order in which a template writes the fields', async () => {
    const { ctx } = new FakeTask().execute();
    for (const input of [
      { a: 1, b: { c: [1, 2], d: null } },
      { b: { d: null, c: [1, 2] }, a: 1 },
    ]) {
      await runAction(ctx, deps, { ...JOB, input, wait: false });
    }
    expect(new Set(keysSent()).size).toBe(1);
  });
});

it('a place in the log is noted while the run goes on', async () => {
  const task = new FakeTask();
  stage.bridge.streams.push({
    text: frame(1, 'one') + frame(2, 'two'),
    then: 'hang',
  });
  const stop = new AbortController();
  const { ctx } = task.execute({ signal: stop.signal });
  const noted = new Promise<void>(resolve => {
    const { checkpoint } = ctx;
    ctx.checkpoint = async options => {
      const value = await checkpoint(options);
      if ((value as { after?: number }).after === 2) {
        resolve();
      }
      return value;
    };
  });
  const step = runAction(ctx, deps, JOB);
  await noted;
  expect([...task.stored.values()]).toEqual([{ runId: 'run-1', after: 2 }]);
  stage.bridge.onCancel = id =>
    stage.bridge.runs.set(id, { status: 'cancelled' });
  stage.bridge.streams.push({ text: doneFrame(3, 'x'), then: 'close' });
  stop.abort();
  await expect(step).rejects.toThrow();
});
