// The provider: opaque tokens, refresh tokens that rotate, clients from the configuration.
import { generateKeyPairSync, randomBytes } from 'node:crypto';

import { Provider } from 'oidc-provider';

import { adapterOn } from './adapter.js';

const DAY = 86400;

export async function makeProvider(pool) {
  const { rows } = await pool.query('SELECT metadata FROM clients');
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return new Provider('http://127.0.0.1', {
    adapter: adapterOn(pool),
    clients: rows.map((row) => row.metadata),
    scopes: ['read', 'write', 'offline_access'],
    rotateRefreshToken: true,
    findAccount: (ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    ttl: { AccessToken: 1800, RefreshToken: 365 * DAY, Grant: 365 * DAY },
    features: { devInteractions: { enabled: false } },
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig' }] },
    cookies: { keys: [randomBytes(32).toString('hex')] },
  });
}
