/** The argoBridge section of app-config. */
import { ConfigReader } from '@backstage/config';
import { readSettings } from './settings';

const read = (argoBridge: object, backend: object = {}) =>
  readSettings(new ConfigReader({ argoBridge, backend }));

it('needs only the address of the bridge', () => {
  const settings = read(
    { baseUrl: 'http://bridge:8080/' },
    { workingDirectory: '/data' },
  );
  expect(settings).toMatchObject({
    baseUrl: 'http://bridge:8080',
    token: undefined,
    pluginId: 'argo-bridge',
    refreshMs: 60_000,
    silenceMs: 45_000,
    cancelMs: 60_000,
  });
  expect(settings.manifest).toMatch(
    /^\/data\/argo-bridge-actions-[0-9a-f]{12}\.json$/,
  );
});

it.each([
  ['ftp://bridge', 'must be an http(s) URL'],
  ['bridge:8080', 'must be an http(s) URL'],
  ['http://u:p@bridge', 'no credentials'],
  ['http://bridge?x=1', 'no credentials, query or fragment'],
])('refuses the address %s and says why', (baseUrl, reason) => {
  expect(() => read({ baseUrl })).toThrow(reason);
});

it('names a duration that is not one', () => {
  expect(() =>
    read({ baseUrl: 'http://b', timeouts: { startSeconds: 0 } }),
  ).toThrow('argoBridge.timeouts.startSeconds must be more than 0 seconds');
});
