/**
 * Templates with one step, and a reader of task logs as the task page is one.
 * For tests only.
 */
import { createParser } from 'eventsource-parser';

export const TEMPLATE = {
  apiVersion: 'scaffolder.backstage.io/v1beta3',
  kind: 'Template',
  metadata: { name: 'namespace', namespace: 'default' },
  spec: {
    type: 'service',
    parameters: {},
    steps: [
      {
        id: 'create',
        name: 'Create',
        action: 'bridge:namespace:create',
        input: { namespaceName: '${{ parameters.name }}' },
      },
    ],
    output: { text: [{ content: '${{ steps.create.output.namespace }}' }] },
  },
};

/** The same step for each of three names, two of which are equal. */
export const EACH_TEMPLATE = {
  ...TEMPLATE,
  metadata: { name: 'namespaces', namespace: 'default' },
  spec: {
    ...TEMPLATE.spec,
    steps: [
      {
        id: 'create',
        name: 'Create',
        each: ['team-a', 'team-b', 'team-a'],
        action: 'bridge:namespace:create',
        input: { namespaceName: '${{ each.value }}' },
      },
    ],
    output: { text: [{ content: '${{ steps.create.output.runId }}' }] },
  },
};

export interface TaskEvent {
  readonly type: string;
  readonly body: {
    /** Missing in a `recovered` event. */
    readonly message?: string;
    readonly error?: { readonly name: string; readonly message: string };
    readonly output?: object;
  };
}

/** Reads an event stream to its `completion`, or until `onLine` says stop. */
export async function followTask(
  response: Response,
  onLine: (line: string) => 'go on' | 'stop' = () => 'go on',
): Promise<TaskEvent[]> {
  const events: TaskEvent[] = [];
  let over = false;
  const parser = createParser({
    onEvent: ({ data }) => {
      const event = JSON.parse(data) as TaskEvent;
      events.push(event);
      over ||= onLine(event.body.message ?? '') === 'stop';
      over ||= event.type === 'completion';
    },
  });
  const decoder = new TextDecoder();
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    parser.feed(decoder.decode(chunk, { stream: true }));
    if (over) {
      break;
    }
  }
  return events;
}

export function linesOf(events: readonly TaskEvent[]): string[] {
  return events.map(({ body }) => body.message ?? '');
}
