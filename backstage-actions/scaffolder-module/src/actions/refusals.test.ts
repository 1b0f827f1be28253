/** What a user reads when the bridge says no, or nothing. */
import { http, HttpResponse, type JsonBodyType } from 'msw';
import { BASE_URL, JOB, playBridge, SETTINGS } from '../testing/bridge';
import { DEPS, FakeTask } from '../testing/scaffolder';
import { runAction } from './runAction';

const stage = playBridge();
const RUNS = `${BASE_URL}/v1/runs`;

function answer(status: number, body: JsonBodyType) {
  stage.server.use(
    http.post(RUNS, () =>
      HttpResponse.json(body, {
        status,
        headers: { 'content-type': 'application/problem+json' },
      }),
    ),
  );
}

async function failure(settings = SETTINGS) {
  const { ctx, lines } = new FakeTask().execute();
  const error: unknown = await runAction(ctx, { ...DEPS, settings }, JOB).catch(
    (e: unknown) => e,
  );
  const { name, message, stack } = error as Error;
  expect(stack).toBe(`${name}: ${message}`);
  return { name, message, lines };
}

it('names every field of a refused input', async () => {
  answer(422, {
    code: 'input_invalid',
    detail: '2 fields need attention',
    errors: [
      { pointer: '/namespaceName', message: '"Bad_Name" is not allowed' },
      { pointer: '/ports/0/a~1b', message: 'must be a number' },
      { pointer: '', message: 'team is missing' },
    ],
  });
  expect(await failure()).toEqual({
    name: 'InputRejected',
    message:
      'The bridge refused the input of namespace:create: namespaceName: "Bad_Name" is not allowed; ports.0.a/b: must be a number; input: team is missing',
    lines: [],
  });
});

it('proposes the actions that are near an unknown one', async () => {
  answer(404, { code: 'action_unknown', suggestions: ['a:one', 'a:two'] });
  expect((await failure()).message).toBe(
    'The bridge has no action "namespace:create". Did you mean a:one or a:two?',
  );
});

it.each([
  [
    401,
    {},
    'NotAuthenticated',
    'check argoBridge.pluginId or argoBridge.token',
  ],
  [403, { detail: 'group admins only' }, 'NotAllowed', 'group admins only'],
  [
    409,
    { code: 'lock_held', detail: 'Run 01kagw already works on namespace/a.' },
    'LockHeld',
    'Run 01kagw already works on namespace/a.',
  ],
  [409, { title: 'Locked' }, 'BridgeError', 'refused namespace:create: Locked'],
  [418, {}, 'BridgeError', 'HTTP 418'],
])('explains a %d answer', async (status, body, name, text) => {
  answer(status, body);
  const error = await failure();
  expect(error.name).toBe(name);
  expect(error.message).toContain(text);
});

it('says that the bridge is not reachable, once while it tries and once at the end', async () => {
  stage.server.use(http.post(RUNS, () => HttpResponse.error()));
  const { name, message, lines } = await failure({
    ...SETTINGS,
    unreachableMs: 1500,
  });
  expect(name).toBe('BridgeUnreachable');
  expect(message).toMatch(
    /^The bridge at http:\/\/bridge.test is not reachable/,
  );
  expect(message).not.toContain('fetch failed');
  expect(lines).toEqual(['warn: The bridge is not reachable; retrying.']);
});

it('carries on by itself when the bridge comes back', async () => {
  stage.server.use(
    http.post(
      RUNS,
      () =>
        HttpResponse.json(
          { code: 'draining' },
          { status: 503, headers: { 'retry-after': '0' } },
        ),
      { once: true },
    ),
  );
  const { ctx, outputs } = new FakeTask().execute();
  await runAction(ctx, DEPS, { ...JOB, wait: false });
  expect(outputs.runId).toBe('run-1');
});

it('gives up on an answer that does not come', async () => {
  stage.server.use(http.post(RUNS, () => new Promise<never>(() => {})));
  const { message } = await failure({
    ...SETTINGS,
    requestMs: 50,
    unreachableMs: 60,
  });
  expect(message).toContain('no answer in time');
});

it.each([
  [
    'a login page',
    new HttpResponse('<html>', { status: 200 }),
    'instead of JSON',
  ],
  [
    'a redirect',
    new HttpResponse(null, { status: 302, headers: { location: '/x' } }),
    'answered with a redirect',
  ],
  ['another service', HttpResponse.json({ hello: 1 }), 'without a run'],
  [
    'broken JSON',
    new HttpResponse('{', { headers: { 'content-type': 'application/json' } }),
    'not JSON',
  ],
  [
    'too much',
    HttpResponse.json({ id: 'x'.repeat(9 * 1024 * 1024) }),
    'more than 8 MiB',
  ],
])('recognises %s', async (_what, response, text) => {
  stage.server.use(http.post(RUNS, () => response));
  expect((await failure()).message).toContain(text);
});

it.each([
  ['an event without a number', 'data: {}\n\n', 'event without a number'],
  ['an event that is too large', `data: ${'x'.repeat(2 ** 21)}`, 'over 1 MiB'],
])('does not follow %s', async (_what, text, reason) => {
  stage.bridge.streams.push({ text, then: 'close' });
  expect((await failure()).message).toContain(reason);
});

it('does not follow what is not an event stream', async () => {
  stage.server.use(
    http.get(`${RUNS}/run-1/events`, () => HttpResponse.json({ events: [] })),
  );
  expect((await failure()).message).toContain('without an event stream');
});
