/**
 * Backstage backends that are killed at random moments, many times, with tasks under way:
 * one run for each task, and its lines in the log each once and in order.
 *
 * `KILLS=24 npm test -- killed` kills more often than a usual run does.
 */
import { mkdtempSync } from 'node:fs';
import { chmod, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { FAILED, SUCCEEDED } from './testing/bridge';
import { Backend, within } from './testing/backends';
import { BridgeServer } from './testing/bridgeServer';
import { startPostgres } from './testing/postgres';
import { followTask, linesOf, type TaskEvent } from './testing/tasks';

const KILLS = Number(process.env.KILLS ?? 3);
const TASKS = 5;
const MARK = '~ '; // begins every line of a run, and no other
const LONGEST_MS = 400_000; // a wait that is in vain ends before, and tells more

let folder: string;
let bridge: BridgeServer;
let bridgeUrl: string;
let backends: Backend[];
let stopDatabase: () => void;
let talkers: Map<string, Talker>;

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'killed-'));
  await chmod(folder, 0o755); // PostgreSQL's user goes through it
  bridge = new BridgeServer();
  bridgeUrl = await bridge.start();
  backends = [];
  talkers = new Map();
  stopDatabase = () => {};
});

afterEach(async () => {
  talkers.forEach(talker => talker.stop());
  await Promise.all(backends.map(backend => backend.kill()));
  await bridge.stop();
  stopDatabase();
  await rm(folder, { recursive: true });
});

function sqlite(): object {
  const connection = { directory: path.join(folder, 'db') };
  return { client: 'better-sqlite3', connection };
}

function postgres(): object {
  const { database, stop } = startPostgres(folder);
  stopDatabase = stop;
  return database;
}

async function startBackends(
  count: number,
  database: object,
): Promise<Backend> {
  const options = { folder, bridgeUrl, database };
  while (backends.length < count) {
    const backend = await Backend.make(options);
    backends.push(backend);
    backend.start();
    await backend.isReady(); // one at a time: the first makes the tables
  }
  return backends[0] as Backend;
}

/** Reads the log of a task to its end, or until a line with `last`. */
function follow(
  backend: Backend,
  taskId: string,
  last?: string,
): Promise<TaskEvent[]> {
  const log = backend
    .call(`/v2/tasks/${taskId}/eventstream`)
    .then(answer =>
      followTask(answer, line =>
        last && line.includes(last) ? 'stop' : 'go on',
      ),
    );
  return within(backends, `'${last ?? 'the end'}' in the log`, log);
}

/** The next time that a backend asks for the events of a run; `seen` waits for it. */
function followed(): Promise<unknown> {
  return once(bridge.asked, 'followed');
}

function seen(following: Promise<unknown>): Promise<unknown> {
  return within(backends, 'following of a run', following);
}

/** A backend that follows a run, once at least `count` runs are followed. */
async function follower(count: number): Promise<Backend> {
  const enough = (async () => {
    while (bridge.followers.length < count) {
      await followed();
    }
  })();
  await seen(enough);
  return backends.find(backend =>
    bridge.followers.includes(`Bearer ${backend.token}`),
  ) as Backend;
}

/** Lets a run print lines, some alike and some at once, until it is stopped. */
class Talker {
  readonly said: string[] = [];
  #talking = true;

  constructor(private readonly runId: string) {}

  async talk(): Promise<void> {
    for (let round = 1; this.#talking; round += 1) {
      const burst =
        Math.random() < 0.1 ? 40 : 1 + Math.floor(Math.random() * 4);
      for (let index = 0; index < burst; index += 1) {
        const alike = Math.random() < 0.3;
        this.#say(alike ? 'the same again' : `line ${round}.${index}`);
      }
      await sleep(Math.random() * 120); // the pace of a run, not a wait
    }
    bridge.end(this.runId, `${MARK}over`, SUCCEEDED);
    this.said.push(`${MARK}over`);
  }

  stop(): void {
    this.#talking = false;
  }

  #say(text: string): void {
    this.said.push(MARK + text);
    bridge.print(this.runId, MARK + text);
  }
}

function markedLines(messages: readonly string[]): string[] {
  return messages
    .flatMap(message => message.split('\n'))
    .filter(line => line.includes(MARK))
    .map(line => line.slice(line.indexOf(MARK)));
}

it.each([
  ['one backend on SQLite, started again each time', 1, sqlite],
  ['two replicas on PostgreSQL, one of which takes over', 2, postgres],
])(
  'kills of %s lose no line and repeat none',
  async (_what, count, database) => {
    const talks: Promise<void>[] = [];
    bridge.onRun = runId => {
      const talker = new Talker(runId);
      talkers.set(runId, talker);
      talks.push(talker.talk());
    };
    const first = await startBackends(count, database());
    const names = Array.from({ length: TASKS }, (_, n) => `team-${'abcde'[n]}`);
    const tasks = await Promise.all(names.map(name => first.create(name)));

    for (let kill = 0; kill < KILLS; kill += 1) {
      // Somewhere between the first task's recovery and some lines after the last's.
      const victim = await follower(1 + Math.floor(Math.random() * TASKS));
      await sleep(Math.random() * 1000);
      await victim.kill();
      victim.start();
      await victim.isReady();
    }
    await follower(TASKS);
    talkers.forEach(talker => talker.stop());
    await Promise.all(talks);

    const logs = await Promise.all(
      tasks.map(async id => linesOf(await follow(first, id))),
    );
    expect(bridge.keys).toHaveLength(TASKS);
    for (const log of logs) {
      const runId = /Run (run-\d+) of/.exec(log.join('\n'))?.[1] ?? '';
      expect(markedLines(log)).toEqual(talkers.get(runId)?.said);
      expect(log.at(-1)).toBe('Run completed with status: completed');
    }
  },
  LONGEST_MS + KILLS * 20_000,
);

it(
  'a backend that stalls, and goes on when another has taken over, says nothing more',
  async () => {
    const database = postgres();
    const worker = await startBackends(1, database);
    bridge.onRun = runId => bridge.print(runId, `${MARK}begins`);
    const id = await worker.create('team-a');
    await follow(worker, id, 'begins');
    await startBackends(2, database);
    const other = backends[1] as Backend;

    const takenOver = followed();
    worker.stall();
    await seen(takenOver);
    worker.goOn();
    ['one', 'two', 'three'].forEach(line => bridge.print('run-1', MARK + line));
    bridge.end('run-1', `${MARK}over`, SUCCEEDED);
    const log = linesOf(await follow(other, id));

    expect(markedLines(log)).toEqual(
      ['begins', 'one', 'two', 'three', 'over'].map(line => MARK + line),
    );
    expect(log.at(-1)).toBe('Run completed with status: completed');
    expect(bridge.keys).toHaveLength(1);
  },
  LONGEST_MS,
);

it(
  'a Retry after a failure is a new attempt, whatever was killed in between',
  async () => {
    const backend = await startBackends(1, sqlite());
    bridge.onRun = runId => bridge.end(runId, `${MARK}${runId} failed`, FAILED);
    const id = await backend.create('team-a');
    const failed = await follow(backend, id);
    await backend.kill();
    backend.start();
    await backend.isReady();

    bridge.onRun = runId => bridge.print(runId, `${MARK}${runId} goes on`);
    await backend.call(`/v2/tasks/${id}/retry`, {});
    await follow(backend, id, 'run-2 goes on');
    await backend.kill();
    bridge.end('run-2', `${MARK}run-2 done`, SUCCEEDED);
    backend.start();
    await backend.isReady();
    const retried = await follow(backend, id);

    expect(linesOf(failed).at(-1)).toBe('Run completed with status: failed');
    expect(markedLines(linesOf(retried))).toEqual([
      `${MARK}run-1 failed`,
      `${MARK}run-2 goes on`,
      `${MARK}run-2 done`,
    ]);
    expect(linesOf(retried).at(-1)).toBe(
      'Run completed with status: completed',
    );
    expect(bridge.keys).toHaveLength(2);
  },
  LONGEST_MS,
);

it(
  'the items of an each keep their runs when the backend is killed in the second',
  async () => {
    const backend = await startBackends(1, sqlite());
    bridge.onRun = runId => {
      bridge.print(runId, `${MARK}${runId} begins`);
      if (runId !== 'run-2') {
        bridge.end(runId, `${MARK}${runId} over`, SUCCEEDED);
      }
    };
    const id = await backend.create('unused', 'namespaces');
    await follow(backend, id, 'run-2 begins');
    await backend.kill();
    bridge.end('run-2', `${MARK}run-2 over`, SUCCEEDED);
    backend.start();
    await backend.isReady();
    const events = await follow(backend, id);

    expect(markedLines(linesOf(events))).toEqual(
      [1, 2, 3].flatMap(n => [
        `${MARK}run-${n} begins`,
        `${MARK}run-${n} over`,
      ]),
    );
    expect(events.at(-1)?.body.output).toEqual({
      text: [{ content: ['run-1', 'run-2', 'run-3'] }],
    });
    expect(new Set(bridge.keys).size).toBe(3);
    expect(bridge.readers.size).toBe(3);
  },
  LONGEST_MS,
);
