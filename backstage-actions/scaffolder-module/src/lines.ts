/**
 * Makes text from a run safe to show as one task log line.
 * Knows terminals and text direction; knows nothing of runs.
 */
import { stripVTControlCharacters } from 'node:util';

const LONGEST_LINE = 8000;
// C0 except tab and newline, DEL, C1, and the characters that reorder shown text.
const UNSHOWABLE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Removes colours and control characters, and cuts what is longer than 8,000 characters. */
export function cleanLine(text: string): string {
  const shown = stripVTControlCharacters(text).replace(UNSHOWABLE, '');
  return shown.length > LONGEST_LINE
    ? `${shown.slice(0, LONGEST_LINE)}…`
    : shown;
}
