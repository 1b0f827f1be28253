/**
 * The actions the bridge offers, as last seen, with a file as memory across starts.
 * Knows the bridge's list and the manifest file; knows nothing of the scaffolder.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { LoggerService } from '@backstage/backend-plugin-api';
import type { BridgeClient } from './client/bridgeClient';
import { persist } from './client/retry';
import {
  isObject,
  parseAction,
  parseJson,
  type ActionDefinition,
} from './client/wire';

export class ActionCatalogue {
  #actions: ReadonlyMap<string, ActionDefinition> = new Map();
  #etag: string | undefined;
  #failing = false;

  constructor(
    private readonly client: BridgeClient,
    private readonly manifest: string,
    private readonly logger: LoggerService,
  ) {}

  get(id: string): ActionDefinition | undefined {
    return this.#actions.get(id);
  }

  list(): ActionDefinition[] {
    return [...this.#actions.values()];
  }

  /**
   * The first load: asks the bridge for up to `limitMs`, then reads the manifest. Never
   * throws, so that Backstage starts without the bridge.
   */
  async load(limitMs: number): Promise<void> {
    try {
      await persist(() => this.#fetch(), { limitMs });
    } catch (error) {
      this.#failing = true;
      this.logger.warn(
        `The bridge's actions could not be read: ${String(error)}`,
      );
      await this.#readManifest();
    }
  }

  /** Reads the list again; keeps the last good one, and warns once, when that fails. Never throws. */
  async refresh(): Promise<void> {
    try {
      await this.#fetch();
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) {
        this.logger.warn(
          `The bridge's actions could not be refreshed: ${String(error)}`,
        );
      }
      this.#failing = true;
    }
  }

  async #fetch(): Promise<void> {
    const answer = await this.client.listActions(this.#etag);
    if (answer) {
      this.#actions = this.#index(answer.actions);
      this.#etag = answer.etag;
      await this.#writeManifest(answer.actions);
    }
  }

  #index(items: readonly unknown[]): Map<string, ActionDefinition> {
    const actions = new Map<string, ActionDefinition>();
    for (const item of items) {
      const action = parseAction(item);
      if (!action) {
        this.logger.warn('The bridge lists an action without id or schema.');
      } else if (actions.has(action.id)) {
        this.logger.warn(`The bridge lists the action ${action.id} twice.`);
      } else {
        actions.set(action.id, action);
      }
    }
    return actions;
  }

  async #readManifest(): Promise<void> {
    try {
      // The default place may be a folder every user of the machine can write to.
      const { uid } = await stat(this.manifest);
      if (process.getuid && uid !== process.getuid() && uid !== 0) {
        throw new Error('it belongs to another user');
      }
      const body = parseJson(await readFile(this.manifest, 'utf8'));
      const actions = isObject(body) ? body.actions : undefined;
      this.#actions = this.#index(Array.isArray(actions) ? actions : []);
      this.logger.warn(
        `Using the actions kept in ${this.manifest} until the bridge answers.`,
      );
    } catch (error) {
      this.logger.warn(
        `No actions kept in ${this.manifest} either (${String(error)}): only bridge:action:run is offered until Backstage starts again.`,
      );
    }
  }

  async #writeManifest(actions: readonly unknown[]): Promise<void> {
    const draft = `${this.manifest}.${randomUUID()}`;
    try {
      await mkdir(path.dirname(this.manifest), { recursive: true });
      await writeFile(draft, JSON.stringify({ actions }), {
        mode: 0o600,
        flag: 'wx', // follows no link somebody else has put there
      });
      await rename(draft, this.manifest);
    } catch (error) {
      this.logger.warn(
        `The actions could not be kept in ${this.manifest}: ${String(error)}`,
      );
    }
  }
}
