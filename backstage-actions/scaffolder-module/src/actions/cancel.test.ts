/** The task is cancelled in Backstage: the run is stopped, and its end is seen. */
import { http, HttpResponse } from 'msw';
import {
  BASE_URL,
  doneFrame,
  frame,
  JOB,
  playBridge,
  SETTINGS,
  SUCCEEDED,
} from '../testing/bridge';
import { DEPS, FakeTask } from '../testing/scaffolder';
import { runAction } from './runAction';

const stage = playBridge();
const RUN_URL = 'http://bridge.test/v1/runs/run-1';
const CANCEL = '/v1/runs/run-1/cancel';

/** Starts a step and cancels its task when the first line is in the log. */
async function cancelAfterFirstLine(settings = SETTINGS) {
  const stop = new AbortController();
  const { ctx, lines } = new FakeTask().execute({ signal: stop.signal });
  const { info } = ctx.logger;
  ctx.logger.info = message => {
    info(message);
    if (message === 'one') {
      stop.abort();
    }
  };
  const error: unknown = await runAction(ctx, { ...DEPS, settings }, JOB).catch(
    (e: unknown) => e,
  );
  return { error: error as Error, lines };
}

it('the rollback is still read in the log, then the step fails in one sentence', async () => {
  const rest = new Promise<string>(resolve => {
    stage.bridge.onCancel = id => {
      stage.bridge.runs.set(id, { status: 'cancelled' });
      resolve(frame(2, 'rolled back') + doneFrame(3, 'over'));
    };
  });
  stage.bridge.streams.push({ text: frame(1, 'one'), rest, then: 'close' });
  const { error, lines } = await cancelAfterFirstLine();
  expect(lines.slice(1)).toEqual([
    'info: one',
    'warn: Cancelling: asking the bridge to stop the workflow.',
    'info: rolled back',
    'info: over',
  ]);
  const message = `The task was cancelled and its run has ended: cancelled (run ${RUN_URL})`;
  expect(error.stack).toBe(`Cancelled: ${message}`);
  expect(stage.bridge.requests('POST', CANCEL)).toHaveLength(1);
});

it('a run that was faster than the cancel is called what it is', async () => {
  const rest = new Promise<string>(resolve => {
    stage.bridge.onCancel = id => {
      stage.bridge.runs.set(id, SUCCEEDED);
      resolve(doneFrame(2, 'over'));
    };
  });
  stage.bridge.streams.push({ text: frame(1, 'one'), rest, then: 'close' });
  const { error } = await cancelAfterFirstLine();
  expect(error.message).toContain('had already succeeded');
});

it('a run that takes long to end does not hold the step for ever', async () => {
  stage.bridge.streams.push({ text: frame(1, 'one'), then: 'hang' });
  const { error } = await cancelAfterFirstLine({ ...SETTINGS, cancelMs: 100 });
  expect(error).toMatchObject({
    name: 'Cancelled',
    message: `The task was cancelled; its run is still ending (run ${RUN_URL})`,
  });
});

it('a cancel the bridge refuses is told, with where the run goes on', async () => {
  stage.bridge.streams.push({ text: frame(1, 'one'), then: 'hang' });
  stage.server.use(
    http.post(BASE_URL + CANCEL, () =>
      HttpResponse.json({ detail: 'only its owner may' }, { status: 403 }),
    ),
  );
  const { error } = await cancelAfterFirstLine();
  expect(error.name).toBe('CancelFailed');
  expect(error.message).toContain(RUN_URL);
  expect(error.message).toContain('only its owner may');
});

it('before the run is confirmed ends the step without one', async () => {
  stage.server.use(
    http.post(`${BASE_URL}/v1/runs`, () => HttpResponse.error()),
  );
  const stop = new AbortController();
  const { ctx, lines } = new FakeTask().execute({ signal: stop.signal });
  ctx.logger.warn = message => {
    lines.push(message);
    stop.abort();
  };
  await expect(runAction(ctx, DEPS, JOB)).rejects.toMatchObject({
    name: 'Cancelled',
    message: 'The task was cancelled before the bridge confirmed a run.',
  });
  expect(lines).toEqual(['The bridge is not reachable; retrying.']);
});

it('while the submission is under way stops the run it made', async () => {
  const stop = new AbortController();
  stage.server.use(
    http.post(`${BASE_URL}/v1/runs`, () => {
      stop.abort();
      return undefined;
    }),
  );
  stage.bridge.runs.set('run-1', { status: 'cancelled' });
  const { ctx } = new FakeTask().execute({ signal: stop.signal });
  const step = runAction(ctx, DEPS, { ...JOB, wait: false });
  await expect(step).rejects.toMatchObject({ name: 'Cancelled' });
  expect(stage.bridge.requests('POST', CANCEL)).toHaveLength(1);
});
