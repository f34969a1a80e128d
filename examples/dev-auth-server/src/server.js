// The listener: what is ours here, everything else goes to the library.

import { createServer } from 'node:http';
import { once } from 'node:events';
import { guard } from './guard.js';
import { Refused, sendJson } from './http.js';
import { publicPart, signingKey } from './keys.js';
import { login } from './login.js';
import { errorBody, homeBody, sendPage, sendStyle } from './pages.js';
import { makeProvider } from './provider.js';
import { OfferedScopes } from './scopes.js';
import { byTokenId } from './tokens.js';

/** Starts it; returns the issuer and a way to stop. */
export async function start(config) {
    const key = await signingKey(config.keyFile);
    const server = createServer();
    // Longer than clients keep an idle connection, or one is closed while they ask on it again.
    server.keepAliveTimeout = 75_000;
    server.listen(config.port, config.host);
    await once(server, 'listening');
    const { port } = server.address();
    const issuer = `http://${config.host.includes(':') ? `[${config.host}]` : config.host}:${port}`;
    const offered = new OfferedScopes(config.resource, config.scopes);
    const provider = makeProvider(issuer, config, key, offered);
    const here = { provider, callback: provider.callback(), config, offered, issuer, key: publicPart(key) };
    server.on('request', (req, res) => {
        route(req, res, here).catch((error) => refuse(req, res, error));
    });
    return {
        issuer,
        stop: () => {
            server.close();
            server.closeAllConnections();
        },
    };
}

async function route(req, res, here) {
    if (guard(req, res, here.issuer)) return;
    forgetSessions(req, here.provider);
    const { pathname } = new URL(req.url, here.issuer);
    if (pathname === '/style.css') {
        sendStyle(res);
    } else if (pathname === '/') {
        sendPage(res, 200, 'Development authorization server', homeBody(here.issuer, here.config, await here.offered.all()));
    } else if (pathname.startsWith('/login/')) {
        await login(req, res, here);
    } else if (req.method === 'POST' && (pathname === '/introspect' || pathname === '/revoke')) {
        await here.callback(await byTokenId(req, here.issuer, here.key), res);
    } else {
        await here.callback(req, res);
    }
}

/** Nobody stays signed in: each sign-in begins with the choice of a user. */
function forgetSessions(req, provider) {
    const name = provider.cookieName('session');
    const kept = (req.headers.cookie ?? '').split(/; */).filter((pair) => !pair.startsWith(`${name}=`) && !pair.startsWith(`${name}.sig=`));
    req.headers.cookie = kept.join('; ');
}

function refuse(req, res, error) {
    if (!(error instanceof Refused)) console.error('dev-auth-server:', error);
    if (res.headersSent) {
        res.destroy();
        return;
    }
    const [status, message] = error instanceof Refused ? [error.status, error.message] : [500, 'something went wrong here: see the log'];
    if ((req.headers.accept ?? '').includes('text/html')) {
        sendPage(res, status, 'This did not work', errorBody(message));
    } else {
        sendJson(res, status, { error: status === 500 ? 'server_error' : 'invalid_request', error_description: message });
    }
}
