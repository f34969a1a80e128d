// Who may speak to this server from a browser. Anybody can sign in as anybody here, so a web page
// that the developer happens to visit must not be able to do it for them.

import { Refused } from './http.js';

/** Documents that are no secret. */
const PUBLIC = new Set([
    '/.well-known/oauth-authorization-server',
    '/.well-known/openid-configuration',
    '/.well-known/jwks.json',
]);
/** What a client in a browser, such as MCP Inspector, calls by script. */
const FOR_SCRIPTS = new Set(['/register', '/token', '/introspect', '/revoke']);

/**
 * Refuses what is not for this server, and sets the CORS headers. Answers preflights itself: then it
 * returns true.
 */
export function guard(req, res, issuer) {
    // Against DNS rebinding: a name that resolves to this machine is not this server's name.
    const { host, origin: own } = new URL(issuer);
    if (req.headers.host !== host) {
        throw new Refused(421, `this server answers as ${issuer} only`);
    }
    const { pathname } = new URL(req.url, issuer);
    const origin = req.headers.origin;
    if (PUBLIC.has(pathname)) {
        res.setHeader('access-control-allow-origin', '*');
    } else if (origin !== undefined && origin !== own) {
        if (!FOR_SCRIPTS.has(pathname) || !isLocal(origin)) {
            throw new Refused(403, 'pages of other sites may not call this');
        }
        res.setHeader('access-control-allow-origin', origin);
        res.setHeader('vary', 'Origin');
    }
    if (req.method !== 'OPTIONS') return false;
    res.setHeader('access-control-allow-methods', 'GET, POST');
    res.setHeader('access-control-allow-headers', 'Authorization, Content-Type, Accept, MCP-Protocol-Version');
    res.setHeader('access-control-max-age', '600');
    res.writeHead(204).end();
    return true;
}

/** Whether a page comes from this machine. */
function isLocal(origin) {
    const url = URL.parse(origin);
    return url !== null && url.protocol === 'http:'
        && (url.hostname === 'localhost' || url.hostname === '[::1]' || /^127(\.\d+){3}$/.test(url.hostname));
}
