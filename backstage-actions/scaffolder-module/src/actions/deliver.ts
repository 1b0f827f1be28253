/**
 * From the end of a run to the end of a step: outputs, or one sentence.
 * Knows the standard outputs; knows nothing of HTTP.
 */
import type { JsonObject } from '@backstage/types';
import type { Run } from '../client/wire';
import { StepError } from '../errors';
import { cleanLine } from '../lines';
import type { StepContext } from './step';

/** Outputs every action has, as JSON Schema properties. */
export const STANDARD_OUTPUTS: JsonObject = {
  runId: {
    type: 'string',
    title: 'Run id',
    examples: ['01kagw3v7m5y8z0c2d4e6f8g9h'],
  },
  runUrl: {
    type: 'string',
    title: 'Link to the run',
    examples: ['https://argo.example/workflows/argo/namespace-create-01kagw'],
  },
  status: {
    type: 'string',
    title: 'Status of the run',
    examples: ['succeeded'],
  },
  workflowName: {
    type: 'string',
    title: 'Name of the workflow',
    examples: ['namespace-create-01kagw3v7m5y8z0c2d4e6f8g9h'],
  },
  entityRef: {
    type: 'string',
    title: 'Entity in the catalog',
    examples: ['resource:default/team-a-dev'],
  },
};

/**
 * Gives each output once (under `each` the scaffolder appends). The run's own outputs
 * win over the standard ones of the same name.
 */
export function deliver(ctx: StepContext, run: Run): void {
  const all: JsonObject = {
    runId: run.id,
    runUrl: run.url,
    status: run.status,
    workflowName: run.workflowName,
    entityRef: run.entityRef,
    ...run.outputs,
  };
  for (const [name, value] of Object.entries(all)) {
    if (value !== undefined) {
      ctx.output(name, value);
    }
  }
}

/** The failure of a run that did not succeed, with the link to it. */
export function failureOf(action: string, run: Run): StepError {
  const why = cleanLine(run.error?.message ?? '').replace(/\.$/, '');
  const [name, verb] =
    run.status === 'cancelled'
      ? ['RunCancelled', 'was cancelled']
      : ['RunFailed', run.status === 'lost' ? 'was lost' : 'failed'];
  const message = `${action} ${verb}: ${why || 'no reason was given'}`;
  return new StepError(name, `${message} (run ${run.url})`);
}
