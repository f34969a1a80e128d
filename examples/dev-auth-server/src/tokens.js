// Access tokens are JWTs, which the library neither stores nor looks up. Here each is remembered by
// its id, so that it can be introspected (RFC 7662) and revoked (RFC 7009) until it expires.

import { Readable } from 'node:stream';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { readForm } from './http.js';

/** Requests in which a JWT was presented, and its id. */
const presented = new WeakMap();

/** Remembers a token that is about to be signed; `payload` is what it will say. */
export async function remember(token, { jti, iat, exp }) {
    const { accountId, clientId, grantId, aud, scope, extra, gty, kind } = token;
    const known = { accountId, clientId, grantId, aud, scope, extra, gty, kind, jti, iat, exp };
    await token.adapter.upsert(jti, known, exp - iat);
}

/**
 * Puts the id of a JWT in its place. The JWT's own signature is checked here; what nobody signed
 * becomes a token that nobody knows.
 */
export async function byTokenId(req, issuer, key) {
    const form = await readForm(req);
    const tokens = form.getAll('token');
    let id;
    if (tokens.length === 1 && tokens[0].split('.').length === 3) {
        id = await idOf(tokens[0], issuer, key);
        form.set('token', id ?? 'unknown');
    }
    const body = Buffer.from(form.toString());
    const { 'transfer-encoding': _, ...headers } = req.headers;
    const { method, url, socket, httpVersion, httpVersionMajor, httpVersionMinor } = req;
    const again = Object.assign(Readable.from([body], { objectMode: false }), {
        method, url, socket, httpVersion, httpVersionMajor, httpVersionMinor,
        headers: { ...headers, 'content-length': String(body.length) },
    });
    presented.set(again, id);
    return again;
}

/** Whether a token that was found is the one that was presented: knowing its id is not enough. */
export function wasPresented(req, token) {
    return token.kind === 'RefreshToken' || presented.get(req) === token.jti;
}

async function idOf(jwt, issuer, key) {
    try {
        // Whether it has expired is for the library to say.
        const { payload } = await jwtVerify(jwt, createLocalJWKSet({ keys: [key] }), { issuer, currentDate: new Date(0) });
        return payload.jti;
    } catch {
        return undefined;
    }
}
