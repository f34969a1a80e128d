// TypeScript SDK 1.x against the gateway: `initialize`, the GET stream, then one POST a call.
// Where a session is given out, it is ended with DELETE.

import { check, exercise, load, main } from './checks.mjs';

const PACKAGE = '@modelcontextprotocol/sdk';

await main(import.meta.filename, PACKAGE, async (url, token) => {
    const { Client } = load(`${PACKAGE}/client/index.js`);
    const { StreamableHTTPClientTransport } = load(`${PACKAGE}/client/streamableHttp.js`);
    const { McpError } = load(`${PACKAGE}/types.js`);

    const transport = new StreamableHTTPClientTransport(url, { requestInit: { headers: { 'X-Dev-Mode': token } } });
    const client = new Client({ name: 'cortex-peer', version: '1.0.0' });
    await client.connect(transport);
    const protocolVersion = transport.protocolVersion;
    check(protocolVersion === '2025-11-25', `initialize: got ${protocolVersion}`);

    const tools = await exercise(client, McpError);
    await transport.terminateSession();
    await client.close();
    return { protocolVersion, tools };
});
