/** The module in a real Backstage backend: scaffolder, database, HTTP. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  mockCredentials,
  mockServices,
  startTestBackend,
  type TestBackend,
} from '@backstage/backend-test-utils';
import { catalogServiceMock } from '@backstage/plugin-catalog-node/testUtils';
import scaffolderPlugin from '@backstage/plugin-scaffolder-backend';
import argoBridgeModule from './index';
import { FAILED, SUCCEEDED } from './testing/bridge';
import { ACTION, BridgeServer } from './testing/bridgeServer';
import { followTask, linesOf, TEMPLATE, type TaskEvent } from './testing/tasks';

let bridge: BridgeServer;
let backend: TestBackend;
let folder: string;

let warnings: string[];

async function startBackend(argoBridge: object): Promise<void> {
  warnings = [];
  const logger = mockServices.logger.mock({
    warn: message => warnings.push(message),
    child: () => logger,
  });
  const manifest = path.join(folder, 'actions.json');
  backend = await startTestBackend({
    features: [
      scaffolderPlugin,
      argoBridgeModule,
      logger.factory,
      catalogServiceMock.factory({ entities: [TEMPLATE] }),
      mockServices.rootConfig.factory({
        data: {
          argoBridge: {
            manifest,
            timeouts: { startSeconds: 0.2 },
            ...argoBridge,
          },
          backend: { workingDirectory: folder },
        },
      }),
    ],
  });
}

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'backend-'));
  bridge = new BridgeServer();
});

afterEach(async () => {
  await backend.stop();
  await bridge.stop();
  await rm(folder, { recursive: true });
});

async function call(route: string, body?: object): Promise<Response> {
  const port = String(backend.server.port());
  return fetch(`http://localhost:${port}/api/scaffolder${route}`, {
    method: body ? 'POST' : 'GET',
    headers: {
      authorization: mockCredentials.user.header(),
      'content-type': 'application/json',
    },
    body: body ? JSON.stringify(body) : null,
  });
}

interface ListedAction {
  readonly id: string;
  readonly description: string;
  readonly schema: { readonly input: object; readonly output: object };
  readonly examples: { readonly example: string }[];
}

async function listed(): Promise<Map<string, ListedAction>> {
  const actions = (await (await call('/v2/actions')).json()) as ListedAction[];
  return new Map(actions.map(action => [action.id, action]));
}

async function startTask(name: string): Promise<string> {
  const response = await call('/v2/tasks', {
    templateRef: 'template:default/namespace',
    values: { name },
  });
  return ((await response.json()) as { id: string }).id;
}

async function followed(
  id: string,
  onLine: (line: string) => void = () => {},
): Promise<TaskEvent[]> {
  return followTask(await call(`/v2/tasks/${id}/eventstream`), line => {
    onLine(line);
    return 'go on';
  });
}

it('lists the bridge’s actions with their schema, and changes them live', async () => {
  await startBackend({ baseUrl: await bridge.start(), refreshSeconds: 0.05 });
  const action = (await listed()).get('bridge:namespace:create');
  expect(action).toMatchObject({
    description: 'Makes a **namespace**.',
    schema: { input: ACTION.schema.input },
  });
  expect(action?.schema.output).toHaveProperty('properties.namespace');
  expect(action?.schema.output).toHaveProperty('properties.runUrl');
  expect(action?.examples[0]?.example).toContain('namespaceName: team-a');
  expect((await listed()).has('bridge:action:run')).toBe(true);

  bridge.actions = [{ ...ACTION, description: 'New words.' }];
  let description: string | undefined;
  while (description !== 'New words.') {
    description = (await listed()).get('bridge:namespace:create')?.description;
  }
});

it('names an action that only a restart will register, once, and one with a reserved id', async () => {
  bridge.actions = [ACTION, { ...ACTION, id: 'action:run' }];
  await startBackend({ baseUrl: await bridge.start(), refreshSeconds: 0.02 });
  expect(warnings).toContain(
    "The bridge's action action:run has a reserved id.",
  );
  bridge.actions = [ACTION, { ...ACTION, id: 'vm:create' }];
  for (let round = 0; round < 4; round += 1) {
    await once(bridge.asked, 'listed');
  }
  expect(warnings.filter(line => line.includes('vm:create'))).toEqual([
    'The bridge has the new action vm:create: start Backstage again to use it as bridge:vm:create, or run it by bridge:action:run.',
  ]);
  expect((await listed()).has('bridge:vm:create')).toBe(false);
});

it('starts without the bridge and still offers the generic action', async () => {
  await startBackend({ baseUrl: 'http://127.0.0.1:9' });
  const actions = await listed();
  expect(actions.has('bridge:action:run')).toBe(true);
  expect(actions.has('bridge:namespace:create')).toBe(false);
  await bridge.start();
});

it('starts with a wrong configuration, too', async () => {
  await startBackend({ baseUrl: 'nonsense' });
  expect((await listed()).has('debug:log')).toBe(true);
  await bridge.start();
});

it('shows a run’s lines while it goes on, and its outputs at the end', async () => {
  await startBackend({ baseUrl: await bridge.start() });
  bridge.onRun = id => bridge.print(id, '● validate running');
  const events = await followed(await startTask('team-a'), line => {
    // Ends only after the first line was seen: it came while the run went on.
    if (line.includes('● validate running')) {
      bridge.end('run-1', '✓ done (1 s)', SUCCEEDED);
    }
  });
  const lines = linesOf(events);
  expect(lines.filter(line => line.includes('validate'))).toHaveLength(1);
  expect(lines.join('\n')).toContain('✓ done (1 s)');
  expect(events.at(-1)?.body.output).toEqual({
    text: [{ content: 'team-a-dev' }],
  });
});

it('stops the run when the task is cancelled, and shows the rollback', async () => {
  await startBackend({ baseUrl: await bridge.start() });
  bridge.onRun = id => bridge.print(id, 'quota running');
  bridge.onCancel = id => {
    bridge.print(id, 'rolled back');
    bridge.end(id, 'cancelled', { status: 'cancelled' });
  };
  const id = await startTask('team-a');
  let cancel: Promise<Response> | undefined;
  const events = await followed(id, line => {
    if (line.includes('quota running')) {
      cancel = call(`/v2/tasks/${id}/cancel`, {});
    }
  });
  await cancel;
  expect(linesOf(events).join('\n')).toContain('rolled back');
  expect(events.at(-1)?.body.error?.message).toMatch(
    /^The task was cancelled and its run has ended: cancelled \(run http/,
  );
});

it('fails the task with one sentence and no stack, and Retry is a new attempt', async () => {
  await startBackend({ baseUrl: await bridge.start() });
  bridge.onRun = id => bridge.end(id, '✗ failed', FAILED);
  const id = await startTask('team-a');
  const failed = await followed(id);
  expect(failed.at(-1)?.body.error).toEqual({
    name: 'RunFailed',
    message: expect.stringContaining('namespace:create failed: The quota was'),
  });
  expect(linesOf(failed).join('\n')).not.toMatch(/^\s+at /m);

  bridge.onRun = runId => bridge.end(runId, '✓ done', SUCCEEDED);
  // The tokens of this backend are made up and always the same; real ones are not.
  await call(`/v2/tasks/${id}/retry`, { secrets: { press: 'second' } });
  const retried = await followed(id);
  expect(linesOf(retried).at(-1)).toBe('Run completed with status: completed');
  expect(bridge.keys).toHaveLength(2);
  expect(bridge.keys[0]).toBe(bridge.keys[1]);
});
