// Have the provider issue a token of each kind to each client, and multiply the rows that it stored by SQL.
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';

import { connect, createTables } from './adapter.js';
import { makeProvider } from './provider.js';

const CLIENTS = 200;
const REDIRECT_URI = 'http://127.0.0.1:9999/callback';
const [name, count, folder] = process.argv.slice(2);
const pool = connect(1);

async function createClients() {
  await pool.query('CREATE TABLE clients (id text PRIMARY KEY, metadata json NOT NULL)');
  for (let number = 0; number < CLIENTS; number += 1) {
    const metadata = {
      client_id: `load-${number}`,
      client_secret: randomBytes(32).toString('base64url'),
      redirect_uris: [REDIRECT_URI],
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: number % 2 ? 'client_secret_post' : 'client_secret_basic',
    };
    await pool.query('INSERT INTO clients VALUES ($1, $2)', [metadata.client_id, JSON.stringify(metadata)]);
  }
}

async function issue(provider, clientId) {
  const client = await provider.Client.find(clientId);
  const grant = new provider.Grant({ accountId: 'ada', clientId });
  grant.addOIDCScope('read write');
  const grantId = await grant.save();
  const given = { accountId: 'ada', client, grantId, gty: 'authorization_code', scope: 'read write' };
  await new provider.RefreshToken(given).save();
  await new provider.AccessToken(given).save();
}

const seed = randomBytes(32).toString('hex');
// Of the n-th copy; ids have 43 characters, as the provider makes them.
const id = (what) => `translate(rtrim(encode(sha256(('${what}' || n || $1)::bytea), 'base64'), '='), '+/', '-_')`;

async function multiply(table, what) {
  const isGrant = what === 'grant';
  const own = `jsonb_build_object('jti', ${id(what)}${isGrant ? '' : `, 'grantId', ${id('grant')}`})`;
  await pool.query(
    `INSERT INTO ${table} (id, grant_id, payload, expires)
     SELECT ${id(what)}, ${isGrant ? 'NULL' : id('grant')}, payload::jsonb || ${own}, expires
     FROM (SELECT *, row_number() OVER (ORDER BY payload->>'clientId') - 1 AS number FROM ${table}) issued
     JOIN generate_series(1, $2::int) n ON n % $3::int = number`,
    [seed, count, CLIENTS],
  );
}

function request({ id: token, client }, at) {
  const form = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token });
  if (at % 2) form.set('scope', 'read');
  const { client_id: clientId, client_secret: secret, token_endpoint_auth_method: method } = client;
  const header = method === 'client_secret_basic' ? `Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}` : '';
  if (!header) {
    form.set('client_id', clientId);
    form.set('client_secret', secret);
  }
  return `${header}\tPOST\t/token\t${form}`;
}

await createClients();
await createTables(pool);
const provider = await makeProvider(pool);
for (let number = 0; number < CLIENTS; number += 1) await issue(provider, `load-${number}`);
await multiply('grants', 'grant');
await multiply('refresh_tokens', 'refresh');
await multiply('access_tokens', 'access');
const { rows } = await pool.query(
  `SELECT token.id, metadata AS client FROM refresh_tokens token JOIN clients ON clients.id = payload->>'clientId'
   ORDER BY random()`,
);
writeFileSync(`${folder}/${name}-refresh.txt`, rows.map(request).join('\n'));
await pool.end();
