/**
 * One action of the bridge as an action of the scaffolder, `bridge:<id>`.
 * Knows the shape of a `TemplateAction`; its texts and schema follow the catalogue live.
 */
import type { TemplateAction } from '@backstage/plugin-scaffolder-node';
import type { JsonObject } from '@backstage/types';
import { stringify } from 'yaml';
import { isObject, type ActionDefinition } from '../client/wire';
import { STANDARD_OUTPUTS } from './deliver';
import { runAction, type Deps } from './runAction';

/** Id of the action in templates. */
export function templateActionId(actionId: string): string {
  return `bridge:${actionId}`;
}

/**
 * A literal `TemplateAction`: `createTemplateAction` takes zod only and drops a JSON
 * Schema without a word. `current` gives the definition as it is now; the scaffolder
 * reads the getters at each use.
 *
 * @public
 */
export function createBridgeAction(
  deps: Deps,
  actionId: string,
  current: () => ActionDefinition,
): TemplateAction {
  return {
    id: templateActionId(actionId),
    get description() {
      return current().description;
    },
    get supportsDryRun() {
      return current().supportsDryRun;
    },
    get schema() {
      return schemaOf(current());
    },
    get examples() {
      return examplesOf(current());
    },
    handler: ctx => {
      const { wait, maxWaitSeconds } = current();
      const { input } = ctx;
      return runAction(ctx, deps, {
        action: actionId,
        input,
        wait,
        maxWaitSeconds,
      });
    },
  };
}

/** The input as the bridge has it; the outputs with those every action has. */
function schemaOf({ schema }: ActionDefinition): TemplateAction['schema'] {
  const own = schema.output.properties;
  const properties = { ...STANDARD_OUTPUTS, ...(isObject(own) ? own : {}) };
  const output: JsonObject = { type: 'object', ...schema.output, properties };
  return { input: schema.input, output };
}

function examplesOf({ id, title, examples }: ActionDefinition) {
  return examples.map(({ description, input }) => ({
    description,
    example: stringify({
      steps: [{ id: 'run', name: title, action: templateActionId(id), input }],
    }),
  }));
}
