/** Text from a pod as a line of the task log. */
import { cleanLine } from './lines';

it('shows no colours, control characters or reversed text', () => {
  expect(cleanLine('\u001b[31mred\u001b[0m\u0007 a\u202eb\tc\nd')).toBe(
    'red ab\tc\nd',
  );
});

it('is cut when it would fill the log', () => {
  expect(cleanLine('x'.repeat(9000))).toBe(`${'x'.repeat(8000)}…`);
});
