// What both TypeScript peers do and expect. Both SDK generations name the calls alike.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename } from 'node:path';

const LIMIT_MS = 60_000;
const INVALID_PARAMS = -32602;
const INSTALLED = new URL('../../target/peers/node/', import.meta.url);

/** Loads a package that setup.sh installed: it lives in the build folder, not beside us. */
export function load(specifier) {
    return createRequire(INSTALLED)(specifier);
}

/** Throws unless `holds`. */
export function check(holds, message) {
    if (!holds) throw new Error(message);
}

/** How an SDK is to start `cortex-gateway stdio`; the token comes from our own environment. */
export function stdio(url, program) {
    return {
        command: program,
        args: ['stdio', '--url', url.href],
        env: { ...process.env },
        stderr: 'inherit',
    };
}

/** Lists and calls; returns the number of tools. */
export async function exercise(client, ProtocolError) {
    const { tools } = await client.listTools();
    const names = tools.map(tool => tool.name).sort();
    for (const wanted of ['demo_echo', 'demo_add', 'demo_add_note']) {
        check(names.includes(wanted), `tools/list: no ${wanted} in ${names}`);
    }

    const echo = jsonText('demo_echo', await client.callTool({ name: 'demo_echo', arguments: { text: 'hello peers' } }));
    check(same(echo.echo, { text: 'hello peers' }), `demo_echo: wrong echo: ${JSON.stringify(echo)}`);
    check(echo.caller !== null && typeof echo.caller === 'object', `demo_echo: no caller: ${JSON.stringify(echo)}`);

    const sum = await client.callTool({ name: 'demo_add', arguments: { a: 2, b: 3 } });
    check(same(jsonText('demo_add', sum), { sum: 5 }), `demo_add: wrong text: ${JSON.stringify(sum)}`);
    check(same(sum.structuredContent, { sum: 5 }), `demo_add: wrong structured content: ${JSON.stringify(sum)}`);

    const refused = await client.callTool({ name: 'demo_add', arguments: {} });
    check(refused.isError === true, `demo_add without arguments: not an error: ${JSON.stringify(refused)}`);
    check(refused.content.some(block => block.text), 'demo_add without arguments: an error without text');

    const unknown = await client.callTool({ name: 'demo_no_such_tool', arguments: {} }).then(
        result => new Error(`got a result: ${JSON.stringify(result)}`),
        error => error
    );
    check(
        unknown instanceof ProtocolError && unknown.code === INVALID_PARAMS,
        `unknown tool: expected the protocol error ${INVALID_PARAMS}: ${unknown.name} ${unknown.code ?? ''} ${unknown.message}`
    );
    return tools.length;
}

/** Runs one peer: exit 0 and one line, or a reason on stderr and exit 1 (2: wrong usage). */
export async function main(script, packageName, run) {
    const name = basename(script, '.mjs');
    const [url, token] = process.argv.slice(2);
    if (process.argv.length !== 4) {
        console.error(`usage: ${name} <url of /mcp> <${name.endsWith('stdio') ? 'cortex-gateway' : 'dev token'}>`);
        process.exit(2);
    }
    const limit = new Promise((_, reject) => {
        setTimeout(() => reject(new Error(`not done after ${LIMIT_MS / 1000} s`)), LIMIT_MS).unref();
    });
    try {
        const { protocolVersion, tools } = await Promise.race([run(new URL(url), token), limit]);
        const manifest = new URL(`node_modules/${packageName}/package.json`, INSTALLED);
        const { version } = JSON.parse(readFileSync(manifest, 'utf8'));
        console.log(JSON.stringify({ sdk: packageName, version, protocolVersion, tools, ok: true }));
        process.exit(0);
    } catch (error) {
        const cause = error.cause ? ` (${error.cause.message ?? error.cause})` : '';
        console.error(`${name}: ${error.message}${cause}`);
        process.exit(1);
    }
}

function jsonText(tool, result) {
    check(!result.isError, `${tool}: an error: ${JSON.stringify(result)}`);
    const texts = result.content.filter(block => block.type === 'text').map(block => block.text);
    check(texts.length === 1, `${tool}: expected one text content: ${JSON.stringify(result)}`);
    return JSON.parse(texts[0]);
}

function same(actual, expected) {
    return JSON.stringify(actual) === JSON.stringify(expected);
}
