/** The list of actions: read at start, kept, refreshed. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { mockServices } from '@backstage/backend-test-utils';
import { http, HttpResponse } from 'msw';
import { ActionCatalogue } from './catalogue';
import { BridgeClient } from './client/bridgeClient';
import { serviceSession } from './session';
import { BASE_URL, playBridge, SETTINGS } from './testing/bridge';

const stage = playBridge();
const action = (id: string) => ({ id, schema: { input: {}, output: {} } });
let folder: string;
let manifest: string;
let warnings: string[];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'catalogue-'));
  manifest = path.join(folder, 'kept', 'actions.json');
  warnings = [];
});

afterEach(() => rm(folder, { recursive: true }));

function newCatalogue() {
  const session = serviceSession(mockServices.auth(), SETTINGS);
  const logger = mockServices.logger.mock({
    warn: message => warnings.push(message),
  });
  const client = new BridgeClient(SETTINGS, session);
  return new ActionCatalogue(client, manifest, logger);
}

function offer(...actions: unknown[]) {
  stage.server.use(
    http.get(`${BASE_URL}/v1/actions`, ({ request }) =>
      request.headers.get('if-none-match') === '"1"'
        ? new HttpResponse(null, { status: 304 })
        : HttpResponse.json({ actions }, { headers: { etag: '"1"' } }),
    ),
  );
}

const refuse = () =>
  stage.server.use(
    http.get(`${BASE_URL}/v1/actions`, () => HttpResponse.error()),
  );

const ids = (catalogue: ActionCatalogue) => catalogue.list().map(a => a.id);

it('gives every usable action and names the others', async () => {
  offer(action('a:b'), action('a:b'), { id: 'no-schema' }, action('ä'), 7);
  const catalogue = newCatalogue();
  await catalogue.load(50);
  expect(ids(catalogue)).toEqual(['a:b']);
  expect(warnings).toHaveLength(4);
});

it('is read again only when it has changed', async () => {
  offer(action('a:b'));
  const catalogue = newCatalogue();
  await catalogue.load(50);
  await catalogue.refresh();
  expect(ids(catalogue)).toEqual(['a:b']);
  expect(warnings).toEqual([]);
});

it('is remembered for a start without the bridge', async () => {
  offer(action('a:b'));
  await newCatalogue().load(50);
  expect((await stat(manifest)).mode & 0o777).toBe(0o600);
  refuse();
  const catalogue = newCatalogue();
  await catalogue.load(50);
  expect(ids(catalogue)).toEqual(['a:b']);
  expect(warnings.at(-1)).toContain('until the bridge answers');
});

it('is empty, not a failed start, when neither bridge nor memory is there', async () => {
  refuse();
  const catalogue = newCatalogue();
  await catalogue.load(50);
  expect(ids(catalogue)).toEqual([]);
  expect(warnings.at(-1)).toContain('only bridge:action:run is offered');
});

it('is not read from a file that is broken', async () => {
  refuse();
  manifest = path.join(folder, 'broken.json');
  await writeFile(manifest, '{"actions": ');
  const catalogue = newCatalogue();
  await catalogue.load(50);
  expect(ids(catalogue)).toEqual([]);
});

it('stays as it was while the bridge is away, with one warning', async () => {
  offer(action('a:b'));
  const catalogue = newCatalogue();
  await catalogue.load(50);
  refuse();
  await catalogue.refresh();
  await catalogue.refresh();
  expect(ids(catalogue)).toEqual(['a:b']);
  expect(warnings).toHaveLength(1);
});

it('works where it cannot be kept', async () => {
  offer(action('a:b'));
  await writeFile(path.join(folder, 'file'), '');
  manifest = path.join(folder, 'file', 'actions.json');
  const catalogue = newCatalogue();
  await catalogue.load(50);
  expect(ids(catalogue)).toEqual(['a:b']);
  expect(warnings).toEqual([expect.stringContaining('could not be kept')]);
});

it('keeps what the bridge said, word for word', async () => {
  offer({ ...action('a:b'), owner: 'group:default/platform' });
  await newCatalogue().load(50);
  expect(JSON.parse(await readFile(manifest, 'utf8'))).toEqual({
    actions: [{ ...action('a:b'), owner: 'group:default/platform' }],
  });
});
