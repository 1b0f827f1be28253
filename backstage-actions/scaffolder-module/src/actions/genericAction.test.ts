/** The two kinds of actions as the scaffolder sees them. */
import { mockServices } from '@backstage/backend-test-utils';
import { http, HttpResponse } from 'msw';
import { ActionCatalogue } from '../catalogue';
import { BridgeClient } from '../client/bridgeClient';
import { serviceSession } from '../session';
import { BASE_URL, playBridge, SETTINGS, SUCCEEDED } from '../testing/bridge';
import { DEPS, FakeTask } from '../testing/scaffolder';
import { createGenericAction } from './genericAction';

const stage = playBridge();

function generic() {
  const client = new BridgeClient(
    SETTINGS,
    serviceSession(DEPS.auth, SETTINGS),
  );
  const logger = mockServices.logger.mock();
  const catalogue = new ActionCatalogue(client, '/nowhere/a.json', logger);
  return createGenericAction(DEPS, catalogue);
}

function offer(action: object) {
  stage.server.use(
    http.get(`${BASE_URL}/v1/actions`, () =>
      HttpResponse.json({
        actions: [{ id: 'vm:create', schema: { input: {} }, ...action }],
      }),
    ),
  );
}

it('runs an action that is newer than the start of Backstage, as it is defined', async () => {
  offer({ wait: false });
  const action = generic();
  expect(action.description).toContain('Known now: none.');
  const { ctx, outputs } = new FakeTask().execute({
    input: { action: 'vm:create', input: { size: 's' } },
  });
  await action.handler(ctx);
  const [post] = stage.bridge.requests('POST', '/v1/runs');
  expect(post?.body).toMatchObject({
    action: 'vm:create',
    input: { size: 's' },
  });
  expect(outputs.status).toBe('running'); // it did not wait
  expect(action.description).toContain('`vm:create`');
});

it('waits for an action it knows nothing of', async () => {
  stage.bridge.runs.set('run-1', SUCCEEDED);
  stage.server.use(
    http.get(`${BASE_URL}/v1/actions`, () => HttpResponse.error()),
  );
  const { ctx, outputs } = new FakeTask().execute({
    input: { action: 'vm:create' },
  });
  await generic().handler(ctx);
  expect(outputs.status).toBe('succeeded');
  expect(stage.bridge.requests('GET', '/v1/runs/run-1/events')).toHaveLength(1);
});

it('says what it needs when it gets something else', async () => {
  const { ctx } = new FakeTask().execute({ input: { action: 7 } });
  await expect(generic().handler(ctx)).rejects.toMatchObject({
    stack: expect.stringMatching(/^InputRejected: bridge:action:run needs/),
  });
});
