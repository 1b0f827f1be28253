/** What is remembered of the lines a user has seen, where, and what if that is missing. */
import { setTimeout as sleep } from 'node:timers/promises';
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
let task: FakeTask;

beforeEach(() => {
  task = new FakeTask();
  stage.bridge.runs.set('run-1', SUCCEEDED);
});

const cursors = () => [...(stage.bridge.readers?.values() ?? [])];

/** Runs the step once, with the messages as the run's events; without any, they are all sent. */
async function execute(...messages: string[]): Promise<string[]> {
  if (messages.length > 0) {
    stage.bridge.stream(...messages);
  }
  const { ctx, lines } = task.execute();
  await runAction(ctx, DEPS, JOB);
  return lines;
}

describe('the cursor at the bridge', () => {
  it('says how far this task and step have shown the run', async () => {
    await execute('one', 'two', 'over');
    const names = [...(stage.bridge.readers?.keys() ?? [])];
    expect(names).toEqual([
      expect.stringMatching(/^run-1\/task-1:create:[0-9a-f]{12}$/),
    ]);
    expect(cursors()).toEqual([3]);
  });

  it('is where a task goes on whose log cannot be read', async () => {
    await execute('one', 'two', 'over');
    task.readable = false;
    stage.bridge.asked.length = 0;
    const lines = await execute();
    expect(lines.filter(line => !line.startsWith('debug'))).toEqual([
      'info: Re-attached to run run-1; earlier lines are above.',
    ]);
    expect(stage.bridge.resumedFrom).toEqual(['3']);
  });

  it('does not say what may not be stored yet', async () => {
    task.readable = false;
    stage.bridge.stream('one', 'over');
    const settings = { ...SETTINGS, storedMs: 60_000 }; // no moment of this test is so long
    await runAction(task.execute().ctx, { ...DEPS, settings }, JOB);
    expect(cursors()).toEqual([0]);
  });

  it('says it a moment later while the run goes on', async () => {
    task.readable = false;
    const acknowledged = new Promise<void>(resolve => {
      stage.bridge.onRead = resolve;
    });
    stage.bridge.streams.push({
      text: frame(1, 'one') + frame(2, 'two'),
      rest: acknowledged.then(() => doneFrame(3, 'over')),
      then: 'close',
    });
    await execute();
    const said = stage.bridge.asked.find(({ method }) => method === 'PUT');
    expect(said?.body).toEqual({ seq: 2 });
  });

  it('is not needed where the log can be read', async () => {
    stage.bridge.readers = undefined;
    await execute('one', 'two', 'over');
    task.entries.splice(-1);
    expect(await execute('one', 'two', 'over')).toEqual([
      'info: Re-attached to run run-1; earlier lines are above.',
      'info: over',
    ]);
    const puts = stage.bridge.asked.filter(({ method }) => method === 'PUT');
    expect(puts).toEqual([]);
  });

  it('costs nothing when the bridge refuses it', async () => {
    stage.server.use(
      http.put(`${BASE_URL}/v1/runs/:id/readers/:reader`, () =>
        HttpResponse.json({ code: 'store_unavailable' }, { status: 503 }),
      ),
    );
    expect(await execute('one', 'over')).toHaveLength(3);
  });
});

describe('lines the bridge has removed', () => {
  const gap = frame(2, '… 2 older lines were removed', {
    type: 'gap',
    from: 1,
    to: 2,
  });

  const afterGap = { text: gap + doneFrame(3, 'over'), then: 'close' } as const;

  it('are told to who has not seen them', async () => {
    stage.bridge.streams.push(afterGap);
    const lines = await execute();
    expect(lines.slice(1)).toEqual([
      'info: … 2 older lines were removed',
      'info: over',
    ]);
  });

  it('are not told to who has', async () => {
    await execute('one', 'two', 'over');
    stage.bridge.streams.push(afterGap);
    expect(await execute()).toHaveLength(1);
  });
});

describe('many lines at once', () => {
  const many = Array.from({ length: 200 }, (_, index) => `line ${index}`);

  it('share entries of the log, which are told apart again', async () => {
    const lines = await execute(...many, 'over');
    expect(lines).toHaveLength(2);
    expect(lines[1]).toBe(`info: ${[...many, 'over'].join('\n')}`);
    expect(await execute(...many, 'over')).toHaveLength(1);
  });

  it('keep their levels', async () => {
    const frames = many.map((message, index) =>
      frame(index + 1, message, { level: index === 100 ? 'warn' : 'info' }),
    );
    stage.bridge.streams.push({
      text: frames.join('') + doneFrame(201, 'over'),
      then: 'close',
    });
    const lines = await execute();
    expect(lines).toHaveLength(4);
    expect(lines[2]).toBe('warn: line 100');
  });
});

describe('a log that does not take a line', () => {
  it('holds up the step for a moment only, and is not acknowledged', async () => {
    const dropped = new Promise<void>(resolve => {
      task.filter = text => {
        if (text === 'two') {
          resolve();
        }
        return text === 'two' ? undefined : text;
      };
    });
    // Longer than it would take to acknowledge what was printed.
    const rest = dropped
      .then(() => sleep(8 * SETTINGS.storedMs))
      .then(() => frame(3, 'three') + doneFrame(4, 'over'));
    const text = frame(1, 'one') + frame(2, 'two');
    stage.bridge.streams.push({ text, rest, then: 'close' });
    expect(await execute()).toHaveLength(5);
    expect(cursors()).toEqual([0]);
    task.filter = text => text;
    expect(await execute('one', 'two', 'three', 'over')).toContain('info: two');
  });

  it('is not waited for with lines for the debug level', async () => {
    stage.bridge.streams.push({
      text: frame(1, 'fine', { level: 'debug' }) + doneFrame(2, 'over'),
      then: 'close',
    });
    await execute();
    expect(cursors()).toEqual([2]);
  });
});

describe('a task that another backend has taken over', () => {
  it('gets nothing more from this one, not even an end', async () => {
    const takenOver = new Promise<void>(resolve => {
      task.filter = text => {
        if (text === 'one') {
          task.store('', { stepId: undefined, anew: true });
          resolve();
        }
        return text;
      };
    });
    const { ctx, lines, outputs } = task.execute();
    const ended = jest.fn();
    stage.bridge.stream('one', 'two', 'over');
    void runAction(ctx, DEPS, JOB).then(ended, ended);
    await takenOver;
    await sleep(2 * SETTINGS.storedMs); // nothing is to come, for as long as a line may take
    expect(lines.slice(1)).toEqual(['info: one']);
    expect(outputs).toEqual({});
    expect(ended).not.toHaveBeenCalled();
  });
});
