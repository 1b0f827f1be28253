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
  SUCCEEDED,
} from '../testing/bridge';
import { DEPS, FakeTask } from '../testing/scaffolder';
import { runAction } from './runAction';

const stage = playBridge();
const AGAIN = 'info: Re-attached to run run-1; earlier lines are above.';

const keysSent = () =>
  stage.bridge
    .requests('POST', '/v1/runs')
    .map(({ headers }) => headers.get('idempotency-key'));

const secretsOf = (press: string) => ({ secrets: { backstageToken: press } });

/** A task whose backend was killed after it had submitted run-1. */
async function killedTask(): Promise<FakeTask> {
  const task = new FakeTask();
  await runAction(task.execute().ctx, DEPS, { ...JOB, wait: false });
  stage.bridge.asked.length = 0;
  stage.bridge.runs.set('run-1', SUCCEEDED);
  return task;
}

describe('a backend that was killed', () => {
  it('takes the same run up again and shows only what its log lacks', async () => {
    const task = await killedTask();
    task.store('one');
    stage.bridge.stream('one', 'two', 'over');
    const { ctx, lines, outputs } = task.execute();
    await runAction(ctx, DEPS, JOB);
    expect(lines).toEqual([AGAIN, 'info: two', 'info: over']);
    expect(outputs.namespace).toBe('team-a-dev');
    expect(keysSent()).toEqual([]);
  });

  it('counts lines that read alike', async () => {
    const task = await killedTask();
    ['.', 'one', '.'].forEach(line => task.store(line));
    stage.bridge.stream('.', 'one', '.', '.', 'over');
    const { ctx, lines } = task.execute();
    await runAction(ctx, DEPS, JOB);
    expect(lines).toEqual([AGAIN, 'info: .', 'info: over']);
  });

  it('knows a line again in which a secret was hidden', async () => {
    const task = await killedTask();
    task.store('token *** of *** is set');
    stage.bridge.stream(
      'token abc of me is set',
      'token abc of me was set',
      'over',
    );
    const { ctx, lines } = task.execute();
    await runAction(ctx, DEPS, JOB);
    expect(lines.slice(1)).toEqual([
      'info: token abc of me was set',
      'info: over',
    ]);
  });

  it('does not count the lines of another run or another step', async () => {
    const task = await killedTask();
    task.store('one', { stepId: 'other' });
    task.store('Run run-0 of namespace:create (attempt 2): http://x');
    task.store('one');
    task.store(AGAIN.slice('info: '.length));
    task.store('two');
    stage.bridge.stream('one', 'two', 'over');
    const { ctx, lines } = task.execute();
    await runAction(ctx, DEPS, JOB);
    expect(lines).toEqual([AGAIN, 'info: one', 'info: over']);
  });

  it('does not take what a run says for the announcement of another', async () => {
    const task = await killedTask();
    const said = ['Run tests of the module', 'Run 1 of 3: passed', 'one'];
    said.forEach(line => task.store(line));
    stage.bridge.stream(...said, 'over');
    const { ctx, lines } = task.execute();
    await runAction(ctx, DEPS, JOB);
    expect(lines).toEqual([AGAIN, 'info: over']);
  });

  it('does not take a line for the same words at the debug level', async () => {
    const task = await killedTask();
    ['one', 'two', 'retrying'].forEach(line => task.store(line));
    stage.bridge.streams.push({
      text:
        frame(1, 'retrying', { level: 'debug' }) +
        frame(2, 'one') +
        frame(3, 'two') +
        frame(4, 'retrying') +
        doneFrame(5, 'over'),
      then: 'close',
    });
    const { ctx, lines } = task.execute();
    await runAction(ctx, DEPS, JOB);
    expect(lines).toEqual([AGAIN, 'debug: retrying', 'info: over']);
  });

  it('announces the run when that line itself was lost', async () => {
    const task = await killedTask();
    task.entries = [];
    stage.bridge.stream('over');
    const { ctx, lines } = task.execute();
    await runAction(ctx, DEPS, JOB);
    expect(lines[0]).toBe(
      'info: Run run-1 of namespace:create: http://bridge.test/v1/runs/run-1',
    );
  });

  it('shows everything again in a log that starts over', async () => {
    const task = await killedTask();
    const [reader = ''] = stage.bridge.readers?.keys() ?? [];
    stage.bridge.readers?.set(reader, 2);
    task.entries = [];
    task.store('', { stepId: undefined, startsOver: true });
    stage.bridge.stream('one', 'over');
    const { ctx, lines } = task.execute();
    await runAction(ctx, DEPS, JOB);
    expect(lines.slice(1)).toEqual(['info: one', 'info: over']);
  });

  it('tells the failure of a run that ended meanwhile and starts no other', async () => {
    const task = await killedTask();
    stage.bridge.runs.set('run-1', FAILED);
    stage.bridge.stream('over');
    const { ctx, lines } = task.execute();
    await expect(runAction(ctx, DEPS, JOB)).rejects.toMatchObject({
      name: 'RunFailed',
    });
    expect(lines).toContain('info: over');
    expect(keysSent()).toEqual([]);
  });

  it('starts no other either when it died between telling the failure and storing it', async () => {
    const task = await killedTask();
    stage.bridge.runs.set('run-1', FAILED);
    for (const end of ['over', 'over again']) {
      stage.bridge.stream(end);
      const { ctx } = task.execute();
      await expect(runAction(ctx, DEPS, JOB)).rejects.toThrow('failed');
    }
    expect(keysSent()).toEqual([]);
  });

  it('asks with the same key when the bridge has forgotten the run', async () => {
    const task = await killedTask();
    stage.bridge.runs.set('run-2', SUCCEEDED);
    stage.server.use(
      http.get(`${BASE_URL}/v1/runs/run-1`, () =>
        HttpResponse.json({ code: 'run_unknown' }, { status: 404 }),
      ),
    );
    const [key] = stage.bridge.byKey.keys();
    stage.bridge.byKey.clear();
    const { ctx, outputs } = task.execute();
    await runAction(ctx, DEPS, JOB);
    expect(outputs.runId).toBe('run-2');
    expect(keysSent()).toEqual([key]);
  });

  it('attaches to the run when it died before it could note it', async () => {
    const first = new FakeTask();
    await runAction(first.execute().ctx, DEPS, { ...JOB, wait: false });
    first.stored.clear();
    await runAction(first.execute().ctx, DEPS, { ...JOB, wait: false });
    expect(new Set(keysSent()).size).toBe(1);
    expect(stage.bridge.nextRuns).toEqual(['run-2']);
  });
});

describe('a kill between the acceptance and its note', () => {
  it('tells how the run ended and starts no other', async () => {
    const task = new FakeTask();
    stage.bridge.runs.set('run-1', FAILED);
    stage.bridge.stream('bad');
    await expect(runAction(task.execute().ctx, DEPS, JOB)).rejects.toThrow();
    task.stored.clear();
    stage.bridge.stream('bad');
    await expect(runAction(task.execute().ctx, DEPS, JOB)).rejects.toThrow();
    expect(stage.bridge.nextRuns).toEqual(['run-2']);
  });
});

describe('the Retry of a task', () => {
  it('makes a new attempt under the same key after a failure', async () => {
    const task = new FakeTask();
    stage.bridge.runs.set('run-1', FAILED);
    stage.bridge.stream('bad');
    const first = task.execute();
    await expect(runAction(first.ctx, DEPS, JOB)).rejects.toThrow('failed');

    stage.bridge.runs.set('run-1', { ...FAILED, attempt: 1 });
    stage.bridge.runs.set('run-2', { ...SUCCEEDED, attempt: 2 });
    stage.bridge.stream('good');
    const second = task.execute(secretsOf('second'));
    await runAction(second.ctx, DEPS, JOB);

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
      const { ctx } = task.execute(secretsOf(`pressed for ${id}`));
      await expect(runAction(ctx, DEPS, JOB)).rejects.toThrow(id);
    }
    expect(keysSent()).toHaveLength(3);
  });

  it('is a new attempt where nobody signs in, too', async () => {
    const task = new FakeTask();
    for (const id of ['run-1', 'run-2']) {
      stage.bridge.runs.set(id, FAILED);
      const { ctx } = task.execute();
      const none = await mockServices.auth().getNoneCredentials();
      ctx.getInitiatorCredentials = () => Promise.resolve(none);
      const settings = { ...DEPS.settings, token: 'service-token' };
      const step = runAction(ctx, { ...DEPS, settings }, JOB);
      await expect(step).rejects.toThrow(id);
    }
  });

  it('starts no second workflow while the first goes on', async () => {
    const task = new FakeTask();
    stage.bridge.streams.push({ text: frame(1, 'one'), then: 'hang' });
    const { ctx } = task.execute();
    const step = runAction(ctx, DEPS, { ...JOB, maxWaitSeconds: 0.1 });
    await expect(step).rejects.toMatchObject({ name: 'WaitExceeded' });

    stage.bridge.runs.set('run-1', SUCCEEDED);
    stage.bridge.stream('one', 'over');
    const again = task.execute(secretsOf('second'));
    await runAction(again.ctx, DEPS, JOB);
    expect(again.lines).toEqual([AGAIN, 'info: over']);
    expect(keysSent()).toHaveLength(1);
  });

  it('repeats nothing when the run had succeeded and a later step failed', async () => {
    const task = new FakeTask();
    stage.bridge.runs.set('run-1', SUCCEEDED);
    stage.bridge.stream('over');
    await runAction(task.execute().ctx, DEPS, JOB);
    stage.bridge.stream('over');
    const again = task.execute(secretsOf('second'));
    await runAction(again.ctx, DEPS, JOB);
    expect(again.lines).toEqual([AGAIN]);
    expect(again.outputs.namespace).toBe('team-a-dev');
    expect(keysSent()).toHaveLength(1);
  });
});

describe('the items of an each', () => {
  it('have a run of their own, also with equal input, and keep it after a retry', async () => {
    const task = new FakeTask();
    const all = ['run-1', 'run-2', 'run-3'];
    stage.bridge.nextRuns.splice(0, 2, ...all);
    all.forEach(id => stage.bridge.runs.set(id, SUCCEEDED));
    for (const press of ['first', 'second']) {
      const { ctx, outputs } = task.execute(secretsOf(press));
      const ids = [];
      for (const namespaceName of ['a', 'b', 'a']) {
        await runAction(ctx, DEPS, { ...JOB, input: { namespaceName } });
        ids.push(outputs.runId);
      }
      expect(ids).toEqual(all);
    }
    expect(new Set(keysSent()).size).toBe(3);
    expect(keysSent()).toHaveLength(3);
  });

  it('are told apart in the log and at the bridge', async () => {
    const task = new FakeTask();
    for (const id of ['run-1', 'run-2']) {
      stage.bridge.runs.set(id, SUCCEEDED);
    }
    for (const press of [1, 2]) {
      const { ctx, lines } = task.execute();
      for (const namespaceName of ['a', 'b']) {
        stage.bridge.stream('same words', 'over');
        await runAction(ctx, DEPS, { ...JOB, input: { namespaceName } });
      }
      const words = lines.filter(line => line.endsWith('same words'));
      expect(words).toHaveLength(press === 1 ? 2 : 0);
    }
    const names = [...(stage.bridge.readers?.keys() ?? [])];
    expect(new Set(names.map(name => name.split('/')[1])).size).toBe(2);
  });

  it('do not depend on the order in which a template writes the fields', async () => {
    const task = new FakeTask();
    for (const input of [
      { a: 1, b: { c: [1, 2], d: null } },
      { b: { d: null, c: [1, 2] }, a: 1 },
    ]) {
      const { ctx } = task.execute();
      await runAction(ctx, DEPS, { ...JOB, input, wait: false });
      task.stored.clear();
    }
    expect(new Set(keysSent()).size).toBe(1);
  });
});
