/**
 * A dry run of the scaffolder: shows what would be submitted.
 * Knows the preview route and the log; changes nothing anywhere.
 */
import { stringify } from 'yaml';
import type { BridgeClient } from '../client/bridgeClient';
import { cleanLine } from '../lines';
import type { Step, StepContext } from './step';

/** Logs the workflow as YAML and gives the bridge's example outputs. */
export async function preview(
  ctx: StepContext,
  client: BridgeClient,
  step: Step,
): Promise<void> {
  const { workflow, outputs } = await client.preview(step.request);
  ctx.logger.info(
    cleanLine(
      `Dry run of ${step.request.action}: nothing is submitted. The workflow would be:\n${stringify(workflow)}`,
    ),
  );
  const shown = { runId: 'dry-run', status: 'dry-run', ...outputs };
  for (const [name, value] of Object.entries(shown)) {
    ctx.output(name, value);
  }
}
