/**
 * Scaffolder actions that run Argo Workflows by way of the bridge.
 *
 * @packageDocumentation
 */
export { argoBridgeModule as default } from './module';
export { createBridgeAction } from './actions/bridgeAction';
export { createGenericAction } from './actions/genericAction';
