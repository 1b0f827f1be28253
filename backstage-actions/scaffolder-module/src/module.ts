/**
 * The backend module: reads the catalogue, registers its actions, keeps it fresh.
 * Knows Backstage's module API; the work of a step is in `actions/`.
 */
import {
  coreServices,
  createBackendModule,
  type LifecycleService,
  type LoggerService,
} from '@backstage/backend-plugin-api';
import { scaffolderActionsExtensionPoint } from '@backstage/plugin-scaffolder-node';
import { createBridgeAction, templateActionId } from './actions/bridgeAction';
import { createGenericAction, GENERIC_ID } from './actions/genericAction';
import { Occurrences } from './actions/occurrences';
import type { Deps } from './actions/runAction';
import { ActionCatalogue } from './catalogue';
import { BridgeClient } from './client/bridgeClient';
import { serviceSession } from './session';
import { readSettings, type Settings } from './settings';
import { ScaffolderLog } from './taskLog';

/**
 * Registers `bridge:<id>` for every action of the bridge and `bridge:action:run`.
 *
 * @public
 */
export const argoBridgeModule = createBackendModule({
  pluginId: 'scaffolder',
  moduleId: 'argo-bridge',
  register(registration) {
    registration.registerInit({
      deps: {
        scaffolder: scaffolderActionsExtensionPoint,
        config: coreServices.rootConfig,
        auth: coreServices.auth,
        discovery: coreServices.discovery,
        logger: coreServices.logger,
        lifecycle: coreServices.lifecycle,
      },
      async init({ scaffolder, config, auth, discovery, logger, lifecycle }) {
        let settings: Settings;
        try {
          settings = readSettings(config);
        } catch (error) {
          // A throw here would keep the whole of Backstage from starting.
          logger.error(`No action of the bridge is offered: ${String(error)}`);
          return;
        }
        const session = serviceSession(auth, settings);
        const client = new BridgeClient(settings, session);
        const catalogue = new ActionCatalogue(
          client,
          settings.manifest,
          logger,
        );
        await catalogue.load(settings.startMs);
        const deps: Deps = {
          auth,
          settings,
          occurrences: new Occurrences(),
          openLog: ({ task }) => new ScaffolderLog(auth, discovery, task.id),
        };
        scaffolder.addActions(...actionsOf(deps, catalogue, logger));
        keepFresh(catalogue, settings.refreshMs, logger, lifecycle);
      },
    });
  },
});

/** The scaffolder takes actions only now, at start. */
function actionsOf(
  deps: Deps,
  catalogue: ActionCatalogue,
  logger: LoggerService,
) {
  const offered = catalogue.list().filter(({ id }) => id !== GENERIC_ID);
  if (catalogue.get(GENERIC_ID)) {
    logger.warn(`The bridge's action ${GENERIC_ID} has a reserved id.`);
  }
  const actions = offered.map(first =>
    // One that is gone from the list stays as it was: the bridge then says so itself.
    createBridgeAction(deps, first.id, () => catalogue.get(first.id) ?? first),
  );
  return [...actions, createGenericAction(deps, catalogue)];
}

/** Reads the catalogue again and again; names once what only a restart will register. */
function keepFresh(
  catalogue: ActionCatalogue,
  everyMs: number,
  logger: LoggerService,
  lifecycle: LifecycleService,
): void {
  const told = new Set(catalogue.list().map(({ id }) => id));
  const refresh = async () => {
    await catalogue.refresh();
    const fresh = catalogue.list().filter(({ id }) => !told.has(id));
    for (const { id } of fresh) {
      told.add(id);
      logger.warn(
        `The bridge has the new action ${id}: start Backstage again to use it as ${templateActionId(id)}, or run it by ${templateActionId(GENERIC_ID)}.`,
      );
    }
  };
  const timer = setInterval(() => void refresh(), everyMs);
  lifecycle.addShutdownHook(() => clearInterval(timer));
}
