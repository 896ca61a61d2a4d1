// Serve on a port: so many processes, each with so many connections to PostgreSQL.
import cluster from 'node:cluster';

import { connect } from './adapter.js';
import { makeProvider } from './provider.js';

const [port, processes, connections] = process.argv.slice(2).map(Number);

if (cluster.isPrimary) {
  for (let started = 0; started < processes; started += 1) cluster.fork();
  cluster.on('exit', () => process.exit(1));
} else {
  const provider = await makeProvider(connect(connections));
  provider.on('server_error', (ctx, error) => console.error(error));
  provider.listen(port, '127.0.0.1');
}
