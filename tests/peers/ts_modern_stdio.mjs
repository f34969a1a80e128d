// TypeScript client 2.x over stdio: server/discover, and one line a call.
//
// `mode: 'auto'` silently falls back to `initialize`, so the era is asserted.

import { check, exercise, load, main, stdio } from './checks.mjs';

const PACKAGE = '@modelcontextprotocol/client';
const MODERN = '2026-07-28';

await main(import.meta.filename, PACKAGE, async (url, program) => {
    const { Client, ProtocolError } = load(PACKAGE);
    const { StdioClientTransport } = load(`${PACKAGE}/stdio`);

    const transport = new StdioClientTransport(stdio(url, program));
    const client = new Client(
        { name: 'cortex-peer', version: '1.0.0' },
        { versionNegotiation: { mode: 'auto' } }
    );
    // What is no message on standard output is an error here.
    const errors = [];
    client.onerror = error => errors.push(error);
    await client.connect(transport);
    const protocolVersion = client.getNegotiatedProtocolVersion();
    check(
        protocolVersion === MODERN && client.getProtocolEra() === 'modern',
        `server/discover: got ${protocolVersion}, era ${client.getProtocolEra()}`
    );

    const tools = await exercise(client, ProtocolError);
    await client.close();
    check(errors.length === 0, `standard output: ${errors}`);
    return { protocolVersion, tools };
});
