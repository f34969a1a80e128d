// Configuration: a few environment variables, read once, each with a default that fits the demo.
// Everything that is wrong is told together.

import { isIPv4 } from 'node:net';

/** Who can be chosen on the login page. The demo backend lets the role admin delete notes. */
const USERS = [
    { sub: 'alice', name: 'Alice Admin', email: 'alice@example.com', role: 'admin' },
    { sub: 'bob', name: 'Bob Member', email: 'bob@example.com', role: 'member' },
    { sub: 'carol', name: 'Carol of the blue pool', email: 'carol@example.com', role: 'member', pool: 'blue' },
];

/** A scope (RFC 6749 §3.3). */
export const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

/** Thrown with one line for each wrong value. */
export class ConfigError extends Error {}

/** Reads the variables. An empty one counts as unset. */
export function readConfig(env) {
    const wrong = [];
    const refuse = (name, expected) => wrong.push(`${name}: expected ${expected}`);
    const text = (name, fallback) => env[name] || fallback;

    if (env.NODE_ENV === 'production') {
        wrong.push('NODE_ENV is `production`: this server lets anybody sign in as anybody, and must not run there');
    }
    for (const name of Object.keys(env)) {
        if (name.startsWith('DEV_AUTH_') && !VARIABLES.has(name)) wrong.push(`${name}: no such variable`);
    }

    const host = text('DEV_AUTH_HOST', '127.0.0.1');
    if (!isLoopback(host)) refuse('DEV_AUTH_HOST', 'an address of this machine itself, 127.0.0.1 or ::1');
    const config = {
        host,
        port: number(env, 'PORT', 9400, 0, 65535, refuse),
        tokenSeconds: number(env, 'DEV_AUTH_TOKEN_SECONDS', 600, 1, 86400, refuse),
        resource: resource(text('DEV_AUTH_RESOURCE', 'http://127.0.0.1:3213/mcp'), refuse),
        scopes: text('DEV_AUTH_SCOPES', '').split(' ').filter(Boolean),
        users: users(env.DEV_AUTH_USERS, refuse),
        clients: clients(text('DEV_AUTH_CLIENTS', 'demo-agent:demo-secret'), refuse),
        clientDocuments: text('DEV_AUTH_CLIENT_DOCUMENTS', 'on') === 'on',
        keyFile: text('DEV_AUTH_KEY_FILE'),
    };
    if (!config.scopes.every((scope) => SCOPE.test(scope))) refuse('DEV_AUTH_SCOPES', 'scopes separated by blanks');
    if (!['on', 'off'].includes(text('DEV_AUTH_CLIENT_DOCUMENTS', 'on'))) refuse('DEV_AUTH_CLIENT_DOCUMENTS', '`on` or `off`');
    if (wrong.length) throw new ConfigError(wrong.join('\n'));
    return config;
}

/** Whether an address can only be reached from this machine. */
function isLoopback(host) {
    return host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

const VARIABLES = new Set([
    'DEV_AUTH_HOST',
    'DEV_AUTH_TOKEN_SECONDS',
    'DEV_AUTH_RESOURCE',
    'DEV_AUTH_SCOPES',
    'DEV_AUTH_USERS',
    'DEV_AUTH_CLIENTS',
    'DEV_AUTH_CLIENT_DOCUMENTS',
    'DEV_AUTH_KEY_FILE',
]);

function number(env, name, fallback, least, most, refuse) {
    if (!env[name]) return fallback;
    const value = /^\d{1,9}$/.test(env[name]) ? Number(env[name]) : NaN;
    if (value >= least && value <= most) return value;
    refuse(name, `a number from ${least} to ${most}`);
    return fallback;
}

/** What tokens are for (RFC 8707 §2): kept as written, because the gateway compares texts. */
function resource(written, refuse) {
    const url = URL.parse(written);
    const good = url && ['http:', 'https:'].includes(url.protocol) && !url.hash && !url.username && !url.password;
    if (!good) refuse('DEV_AUTH_RESOURCE', 'the URL of the gateway\'s /mcp, as in its CORTEX_CANONICAL_URI');
    return written;
}

function users(json, refuse) {
    if (!json) return USERS;
    const member = (user, name) => user[name] === undefined || (typeof user[name] === 'string' && user[name] !== '');
    const isUser = (user) => user !== null && typeof user === 'object' && !Array.isArray(user)
        && typeof user.sub === 'string' && Object.keys(user).every((name) => ['sub', 'name', 'email', 'role', 'pool'].includes(name))
        && ['sub', 'name', 'email', 'role', 'pool'].every((name) => member(user, name));
    let list;
    try {
        list = JSON.parse(json);
    } catch {
        list = undefined;
    }
    const good = Array.isArray(list) && list.length > 0 && list.every(isUser)
        && new Set(list.map(({ sub }) => sub)).size === list.length;
    if (!good) {
        refuse('DEV_AUTH_USERS', 'a JSON array of objects with sub and, if wanted, name, email, role, pool; no sub twice');
        return [];
    }
    return list;
}

function clients(written, refuse) {
    const list = written.split(' ').filter(Boolean).map((word) => {
        const at = word.indexOf(':');
        return { id: word.slice(0, Math.max(at, 0)), secret: at < 0 ? '' : word.slice(at + 1) };
    });
    const printable = /^[\x21-\x7e]+$/;
    const good = list.every(({ id, secret }) => printable.test(id) && printable.test(secret))
        && new Set(list.map(({ id }) => id)).size === list.length;
    if (!good) refuse('DEV_AUTH_CLIENTS', '`id:secret`, separated by blanks; no id twice');
    return list;
}
