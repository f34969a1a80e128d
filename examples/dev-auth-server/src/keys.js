// The key that signs tokens: made at start and forgotten, or kept in a file.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { calculateJwkThumbprint } from 'jose';

/** The only algorithm that is used. */
export const ALGORITHM = 'RS256';

/** The private key as a JWK; with a file, the one that lies there, made the first time. */
export async function signingKey(file) {
    if (!file) return make();
    try {
        return parse(readFileSync(file, 'utf8'), file);
    } catch (error) {
        if (error.code !== 'ENOENT') throw error;
    }
    const key = await make();
    // Never readable by others, and never over a file that has come into being meanwhile.
    writeFileSync(file, JSON.stringify(key), { mode: 0o600, flag: 'wx' });
    return key;
}

/** What of a key others may know. */
export function publicPart({ kty, n, e, kid, use, alg }) {
    return { kty, n, e, kid, use, alg };
}

async function make() {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const jwk = privateKey.export({ format: 'jwk' });
    return { ...jwk, kid: await calculateJwkThumbprint(jwk), use: 'sig', alg: ALGORITHM };
}

function parse(text, file) {
    let key;
    try {
        key = JSON.parse(text);
    } catch {
        key = undefined;
    }
    if (key?.kty !== 'RSA' || key.alg !== ALGORITHM || !key.d || !key.kid) {
        throw new Error(`${file} holds no key of this server: delete it, and a new one is made`);
    }
    return key;
}
