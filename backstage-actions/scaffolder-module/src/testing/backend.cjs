/**
 * A Backstage backend in a process of its own, so that a test can kill it. Takes its
 * configuration and catalog from the environment; uses the module as it is shipped.
 */
const { createBackend } = require('@backstage/backend-defaults');
const { mockServices } = require('@backstage/backend-test-utils');
const {
  catalogServiceMock,
} = require('@backstage/plugin-catalog-node/testUtils');

// The scaffolder looks for interrupted tasks every 10 s (plugin-scaffolder-backend 4.2.0,
// TaskWorker) and cannot be told otherwise; a test with many kills has no time for that.
const RECOVERY_MS = 10_000;
const { setTimeout: later } = globalThis;
globalThis.setTimeout = Object.assign(
  (run, ms, ...rest) => later(run, ms === RECOVERY_MS ? 250 : ms, ...rest),
  later,
);

const { data, entities } = JSON.parse(process.env.BACKEND ?? '{}');
const backend = createBackend();
backend.add(mockServices.rootConfig.factory({ data }));
backend.add(catalogServiceMock.factory({ entities }));
backend.add(import('@backstage/plugin-scaffolder-backend'));
backend.add(import('../../dist/index.js'));
backend.start();
