/**
 * A Backstage backend in a process of its own, so that a test can kill it. Takes its
 * configuration and catalog from the environment; uses the module as it is shipped.
 */
const path = require('node:path');
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

// Its worker misses a task that comes between its last look and its wait, and begins it with
// the next one only (the same version, StorageTaskBroker.claim). Here none may come for long.
const LOOK_AGAIN_MS = 250;
const scaffolder = path.dirname(
  require.resolve('@backstage/plugin-scaffolder-backend'),
);
const { StorageTaskBroker } = require(
  path.join(scaffolder, 'scaffolder/tasks/StorageTaskBroker.cjs.js'),
);
const { waitForDispatch } = StorageTaskBroker.prototype;
StorageTaskBroker.prototype.waitForDispatch = function wait(signal) {
  later(() => this.signalDispatch(), LOOK_AGAIN_MS);
  return waitForDispatch.call(this, signal);
};

const { data, entities } = JSON.parse(process.env.BACKEND ?? '{}');
const backend = createBackend();
backend.add(mockServices.rootConfig.factory({ data }));
backend.add(catalogServiceMock.factory({ entities }));
backend.add(import('@backstage/plugin-scaffolder-backend'));
backend.add(import('../../dist/index.js'));
backend.start();
