// Keeps what node-oidc-provider issues in PostgreSQL: a table for each model, prepared statements, a pool that lasts.
import { Pool } from 'pg';

export const TABLES = { Grant: 'grants', RefreshToken: 'refresh_tokens', AccessToken: 'access_tokens' };

const now = () => Math.floor(Date.now() / 1000);

export function connect(connections) {
  return new Pool({ connectionString: process.env.DATABASE_URL, max: connections, idleTimeoutMillis: 0 });
}

export async function createTables(pool) {
  for (const table of Object.values(TABLES)) {
    await pool.query(`CREATE TABLE ${table} (
      id text PRIMARY KEY, payload json NOT NULL, grant_id text, expires bigint, consumed bigint
    )`);
    await pool.query(`CREATE INDEX ON ${table} (grant_id) WHERE grant_id IS NOT NULL`);
  }
}

export function adapterOn(pool) {
  return class Adapter {
    constructor(model) {
      this.table = TABLES[model];
    }

    query(verb, text, values) {
      return pool.query({ name: `${verb} ${this.table}`, text, values });
    }

    async upsert(id, payload, expiresIn) {
      await this.query(
        'upsert',
        `INSERT INTO ${this.table} (id, payload, grant_id, expires) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET payload = excluded.payload, grant_id = excluded.grant_id, expires = excluded.expires`,
        [id, JSON.stringify(payload), payload.grantId ?? null, expiresIn ? now() + expiresIn : null],
      );
    }

    async find(id) {
      const { rows } = await this.query('find', `SELECT payload, consumed FROM ${this.table} WHERE id = $1`, [id]);
      if (!rows.length) return undefined;
      const { payload, consumed } = rows[0];
      return consumed ? { ...payload, consumed } : payload;
    }

    async consume(id) {
      await this.query('consume', `UPDATE ${this.table} SET consumed = $2 WHERE id = $1`, [id, now()]);
    }

    async destroy(id) {
      await this.query('destroy', `DELETE FROM ${this.table} WHERE id = $1`, [id]);
    }

    async revokeByGrantId(grantId) {
      await this.query('revoke', `DELETE FROM ${this.table} WHERE grant_id = $1`, [grantId]);
    }
  };
}
