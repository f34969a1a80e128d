// TypeScript client 2.x against the gateway: server/discover, then one stateless POST a call.
//
// `mode: 'auto'` silently falls back to `initialize` where the answer to `server/discover` does
// not convince it, so the era is asserted: by what the SDK negotiated and on the wire.

import { check, exercise, load, main } from './checks.mjs';

const PACKAGE = '@modelcontextprotocol/client';
const MODERN = '2026-07-28';

await main(import.meta.filename, PACKAGE, async (url, token) => {
    const { Client, ProtocolError, StreamableHTTPClientTransport } = load(PACKAGE);

    let lastStatus = 'nothing';
    const watched = async (input, init) => {
        const version = new Headers(init.headers).get('mcp-protocol-version');
        check(init.method === 'POST', `wire: a modern client sent ${init.method}`);
        check(version === MODERN, `wire: the SDK fell back to MCP-Protocol-Version ${version} after HTTP ${lastStatus}`);
        const response = await fetch(input, init);
        lastStatus = response.status;
        check(!response.headers.has('mcp-session-id'), 'wire: a session was minted for a modern request');
        return response;
    };
    const transport = new StreamableHTTPClientTransport(url, {
        fetch: watched,
        requestInit: { headers: { 'X-Dev-Mode': token } },
    });
    const client = new Client(
        { name: 'cortex-peer', version: '1.0.0' },
        { versionNegotiation: { mode: 'auto' } }
    );
    await client.connect(transport);
    const protocolVersion = client.getNegotiatedProtocolVersion();
    check(
        protocolVersion === MODERN && client.getProtocolEra() === 'modern',
        `server/discover: got ${protocolVersion}, era ${client.getProtocolEra()}`
    );

    const tools = await exercise(client, ProtocolError);
    await client.close();
    return { protocolVersion, tools };
});
