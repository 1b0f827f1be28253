/** The log of a task over the scaffolder's own route. */
import {
  mockServices,
  registerMswTestHooks,
} from '@backstage/backend-test-utils';
import { http, HttpResponse } from 'msw';
import { setupServer } from 'msw/node';
import { ScaffolderLog } from './taskLog';

const server = setupServer();
registerMswTestHooks(server);

const ROUTE = 'http://backstage.test/api/scaffolder/v2/tasks/task-1/events';
const discovery = mockServices.discovery.mock({
  getBaseUrl: id => Promise.resolve(`http://backstage.test/api/${id}`),
});

function answer(events: object[]): Request[] {
  const asked: Request[] = [];
  server.use(
    http.get(ROUTE, ({ request }) => {
      asked.push(request);
      return HttpResponse.json(events);
    }),
  );
  return asked;
}

it('tells what was logged, by which step and at which level', async () => {
  answer([
    { id: 1, type: 'log', body: { message: 'Starting up task' } },
    {
      id: 2,
      type: 'log',
      body: {
        stepId: 'create',
        message: '\u001b[33mwarn\u001b[39m: info: one\ntwo',
      },
    },
    { id: 3, type: 'recovered', body: { recoverStrategy: 'startOver' } },
  ]);
  const log = new ScaffolderLog(mockServices.auth(), discovery, 'task-1');
  const none = { stepId: undefined, level: undefined, text: '' };
  const quiet = { anew: false, startsOver: false };
  expect(await log.read()).toEqual([
    { ...none, ...quiet, id: 1, text: 'Starting up task' },
    {
      ...quiet,
      id: 2,
      stepId: 'create',
      level: 'warn',
      text: 'info: one\ntwo',
    },
    { ...none, id: 3, anew: true, startsOver: true },
  ]);
});

it('is asked again from the last entry, so that the scaffolder answers at once', async () => {
  const entry = (id: number) => ({ id, type: 'log', body: {} });
  const asked = answer([entry(7), entry(9)]);
  const log = new ScaffolderLog(mockServices.auth(), discovery, 'task-1');
  expect((await log.read(7)).map(({ id }) => id)).toEqual([9]);
  expect(new URL(asked[0]?.url ?? '').search).toBe('?after=6');
});

it('is read again after a moment in which no token could be made', async () => {
  answer([]);
  const auth = mockServices.auth.mock();
  auth.getPluginRequestToken
    .mockRejectedValueOnce(new Error('no key just now'))
    .mockResolvedValue({ token: 'good' });
  const log = new ScaffolderLog(auth, discovery, 'task-1');
  await expect(log.read()).rejects.toThrow('no key just now');
  expect(await log.read()).toEqual([]);
  await log.read();
  expect(auth.getPluginRequestToken).toHaveBeenCalledTimes(2);
});

it('is refused with what the scaffolder says', async () => {
  server.use(http.get(ROUTE, () => new HttpResponse(null, { status: 403 })));
  const log = new ScaffolderLog(mockServices.auth(), discovery, 'task-1');
  await expect(log.read()).rejects.toMatchObject({ status: 403 });
});
