/**
 * `bridge:action:run`: any action of the bridge by its id, also one newer than this start.
 * Knows the shape of a `TemplateAction`; the bridge alone checks the inner input.
 */
import type { TemplateAction } from '@backstage/plugin-scaffolder-node';
import type { JsonObject } from '@backstage/types';
import { stringify } from 'yaml';
import type { ActionCatalogue } from '../catalogue';
import { isObject } from '../client/wire';
import { StepError } from '../errors';
import { templateActionId } from './bridgeAction';
import { STANDARD_OUTPUTS } from './deliver';
import { runAction, type Deps } from './runAction';

/** The action id the generic action takes in templates, so no definition can have it. */
export const GENERIC_ID = 'action:run';

const DAY_SECONDS = 86_400;

/**
 * The generic action. How long it waits comes from the action's definition.
 *
 * @public
 */
export function createGenericAction(
  deps: Deps,
  catalogue: ActionCatalogue,
): TemplateAction {
  return {
    id: templateActionId(GENERIC_ID),
    get description() {
      const ids = catalogue.list().map(({ id }) => `\`${id}\``);
      return `Runs an action of the bridge by its id. Known now: ${ids.join(', ') || 'none'}.`;
    },
    supportsDryRun: true,
    schema: { input: INPUT, output: OUTPUT },
    examples: [EXAMPLE],
    handler: async ctx => {
      const { action, input = {} } = ctx.input;
      if (typeof action !== 'string' || !isObject(input)) {
        throw new StepError(
          'InputRejected',
          'bridge:action:run needs the id of an action and an input object.',
        );
      }
      if (!catalogue.get(action)) {
        await catalogue.refresh();
      }
      const known = catalogue.get(action);
      await runAction(ctx, deps, {
        action,
        input,
        wait: known?.wait ?? true,
        maxWaitSeconds: known?.maxWaitSeconds ?? DAY_SECONDS,
      });
    },
  };
}

const INPUT: JsonObject = {
  type: 'object',
  required: ['action'],
  additionalProperties: false,
  properties: {
    action: {
      type: 'string',
      title: 'Action',
      description: 'Id of an action as the bridge lists it.',
      examples: ['namespace:create'],
    },
    input: {
      type: 'object',
      title: 'Input',
      description: 'Checked by the bridge against the action’s own schema.',
    },
  },
};

const OUTPUT: JsonObject = { type: 'object', properties: STANDARD_OUTPUTS };

const EXAMPLE = {
  description: 'Create a namespace',
  example: stringify({
    steps: [
      {
        id: 'run',
        name: 'Create a namespace',
        action: templateActionId(GENERIC_ID),
        input: {
          action: 'namespace:create',
          input: { namespaceName: 'team-a-dev', team: 'group:default/team-a' },
        },
      },
    ],
  }),
};
