// Reads the environment, listens on loopback, stops on a signal.

import { ConfigError, readConfig } from './config.js';
import { start } from './server.js';

try {
    const config = readConfig(process.env);
    const { issuer, stop } = await start(config);
    console.error(`
*** DEVELOPMENT AUTHORIZATION SERVER: NOT FOR PRODUCTION ***
Anybody who reaches it signs in as anybody, without a password. It listens on this machine only.

  issuer      ${issuer}
  tokens for  ${config.resource}
  users       ${config.users.map(({ sub }) => sub).join(', ')}
  clients     ${config.clients.map(({ id }) => id).join(', ') || 'none'}, and whoever registers
`);
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop);
    console.log(`dev-auth-server listening on ${issuer}`);
} catch (error) {
    const known = error instanceof ConfigError || error.code === 'EADDRINUSE' || error.code === 'EACCES';
    console.error(`dev-auth-server: ${known ? error.message : error.stack}`);
    process.exitCode = 1;
}
