// TypeScript SDK 1.x over stdio: `initialize`, and one line a call.

import { check, exercise, load, main, stdio } from './checks.mjs';

const PACKAGE = '@modelcontextprotocol/sdk';

await main(import.meta.filename, PACKAGE, async (url, program) => {
    const { Client } = load(`${PACKAGE}/client/index.js`);
    const { StdioClientTransport } = load(`${PACKAGE}/client/stdio.js`);
    const { McpError } = load(`${PACKAGE}/types.js`);

    const transport = new StdioClientTransport(stdio(url, program));
    // What is no message on standard output is an error here.
    const errors = [];
    const client = new Client({ name: 'cortex-peer', version: '1.0.0' });
    client.onerror = error => errors.push(error);
    let protocolVersion;
    transport.setProtocolVersion = version => (protocolVersion = version);
    await client.connect(transport);
    check(protocolVersion === '2025-11-25', `initialize: got ${protocolVersion}`);

    const tools = await exercise(client, McpError);
    await client.close();
    check(errors.length === 0, `standard output: ${errors}`);
    return { protocolVersion, tools };
});
