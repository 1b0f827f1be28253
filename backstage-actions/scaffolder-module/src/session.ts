/**
 * Tokens for the bridge, minted anew for each request, and for another plugin.
 * Knows Backstage's auth service; knows nothing of HTTP or runs.
 */
import type {
  AuthService,
  BackstageCredentials,
} from '@backstage/backend-plugin-api';
import { SessionExpired } from './errors';
import type { Settings } from './settings';

/** Where a client gets the bearer token of its next request. */
export interface TokenSource {
  /** Throws `SessionExpired` when the user's credentials are no longer good. */
  token(): Promise<string>;
  /** Goes on as Backstage itself; false when that is what it does already. */
  fallBack(): boolean;
}

/** A token with which this backend itself calls another plugin. */
export async function serviceToken(
  auth: AuthService,
  targetPluginId: string,
): Promise<string> {
  return mint(auth, targetPluginId, await auth.getOwnServiceCredentials());
}

/** Tokens of this backend alone, or the configured static token. */
export function serviceSession(
  auth: AuthService,
  settings: Settings,
): TokenSource {
  return {
    token: async () =>
      settings.token ?? (await serviceToken(auth, settings.pluginId)),
    fallBack: () => false,
  };
}

/**
 * Tokens that name the user who started the task. A user's credentials end after an
 * hour by default (auth.backstageTokenExpiration); a run may last longer, so that
 * following one falls back to this backend's own.
 */
export function userSession(
  auth: AuthService,
  settings: Settings,
  initiator: () => Promise<BackstageCredentials>,
): TokenSource {
  const service = serviceSession(auth, settings);
  let asService = settings.token !== undefined;
  return {
    token: async () => {
      if (asService) {
        return service.token();
      }
      const token = await mintForUser(auth, settings, initiator);
      if (hasExpired(token)) {
        throw new SessionExpired('the token of the user has expired');
      }
      return token;
    },
    fallBack: () => {
      const changed = !asService;
      asService = true;
      return changed;
    },
  };
}

async function mintForUser(
  auth: AuthService,
  settings: Settings,
  initiator: () => Promise<BackstageCredentials>,
): Promise<string> {
  try {
    return await mint(auth, settings.pluginId, await initiator());
  } catch (error) {
    throw new SessionExpired('no token can be made for the user', {
      cause: error,
    });
  }
}

async function mint(
  auth: AuthService,
  targetPluginId: string,
  onBehalfOf: BackstageCredentials,
): Promise<string> {
  const { token } = await auth.getPluginRequestToken({
    onBehalfOf,
    targetPluginId,
  });
  return token;
}

/** Backstage signs a token for an expired user as well: its own `exp` is then in the past. */
function hasExpired(token: string): boolean {
  const payload = token.split('.')[1];
  if (payload === undefined) {
    return false;
  }
  try {
    const claims: unknown = JSON.parse(
      Buffer.from(payload, 'base64url').toString('utf8'),
    );
    const exp = (claims as { exp?: unknown } | null)?.exp;
    return typeof exp === 'number' && exp * 1000 <= Date.now();
  } catch {
    return false; // not a JWT: the bridge decides
  }
}
