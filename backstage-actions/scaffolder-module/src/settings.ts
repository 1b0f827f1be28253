/**
 * The `argoBridge` section of app-config as one value.
 * Knows configuration keys and defaults; knows nothing of HTTP or the scaffolder.
 */
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Config } from '@backstage/config';

/** Settings of the module; every duration is in milliseconds. */
export interface Settings {
  /** Origin and path prefix of the bridge, without a slash at the end. */
  readonly baseUrl: string;
  /** Static service token; without it plugin tokens are used. */
  readonly token: string | undefined;
  /** Audience of the plugin tokens. */
  readonly pluginId: string;
  /** File the last good catalogue is kept in. */
  readonly manifest: string;
  readonly refreshMs: number;
  readonly startMs: number;
  readonly requestMs: number;
  readonly silenceMs: number;
  readonly unreachableMs: number;
  readonly cancelMs: number;
  /** How long a printed line may take to be in the task's log. */
  readonly storedMs: number;
}

/** Reads the settings; throws a sentence that names the key when one is wrong. */
export function readSettings(root: Config): Settings {
  const config = root.getConfig('argoBridge');
  const baseUrl = readBaseUrl(config.getString('baseUrl'));
  const seconds = (key: string, fallback: number) => {
    const value = config.getOptionalNumber(key) ?? fallback;
    if (value <= 0) {
      throw new Error(`argoBridge.${key} must be more than 0 seconds`);
    }
    return value * 1000;
  };
  return {
    baseUrl,
    token: config.getOptionalString('token'),
    pluginId: config.getOptionalString('pluginId') ?? 'argo-bridge',
    manifest:
      config.getOptionalString('manifest') ?? defaultManifest(root, baseUrl),
    refreshMs: seconds('refreshSeconds', 60),
    startMs: seconds('timeouts.startSeconds', 5),
    requestMs: seconds('timeouts.requestSeconds', 15),
    silenceMs: seconds('timeouts.silenceSeconds', 45),
    unreachableMs: seconds('timeouts.unreachableSeconds', 120),
    cancelMs: seconds('timeouts.cancelSeconds', 60),
    storedMs: seconds('timeouts.storedSeconds', 5),
  };
}

function readBaseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !['http:', 'https:'].includes(url.protocol)) {
    throw new Error('argoBridge.baseUrl must be an http(s) URL');
  }
  if (url.username || url.password || url.search || url.hash) {
    throw new Error(
      'argoBridge.baseUrl must have no credentials, query or fragment',
    );
  }
  return url.href.replace(/\/+$/, '');
}

function defaultManifest(root: Config, baseUrl: string): string {
  const folder = root.getOptionalString('backend.workingDirectory') ?? tmpdir();
  const suffix = createHash('sha256').update(baseUrl).digest('hex');
  return path.resolve(
    folder,
    `argo-bridge-actions-${suffix.slice(0, 12)}.json`,
  );
}
