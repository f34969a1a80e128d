// Clients: known from the start, registered (RFC 7591), or known by a metadata document (Client ID
// Metadata Documents, draft-ietf-oauth-client-id-metadata-document).

/** What a client may use here. */
export const GRANT_TYPES = ['authorization_code', 'refresh_token', 'client_credentials'];

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]']);

/** A client of the configuration, for client_credentials and introspection. */
export function configured({ id, secret }) {
    return {
        client_id: id,
        client_secret: secret,
        client_name: id,
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
    };
}

/**
 * Fits what a client says of itself to this server, as RFC 7591 §2 lets a server do, because real
 * clients say more than they need. Called for each property that we named, so it can be repeated.
 */
export function fit(metadata) {
    // The library takes the scopes of OpenID only; which ones of the resource are granted is
    // decided on the login page.
    delete metadata.scope;
    if (Array.isArray(metadata.grant_types)) {
        metadata.grant_types = metadata.grant_types.filter((type) => GRANT_TYPES.includes(type));
    }
    // Many native clients do not say that they are (RFC 8252 §7): their port differs each time.
    if (Array.isArray(metadata.redirect_uris) && isNative(metadata.redirect_uris)) {
        metadata.application_type = 'native';
    }
}

function isNative(uris) {
    const parsed = uris.map((uri) => (typeof uri === 'string' ? URL.parse(uri) : null));
    if (parsed.includes(null)) return false;
    const own = ({ protocol, hostname }) => (protocol === 'http:' ? LOOPBACK.has(hostname) : protocol !== 'https:');
    const web = ({ protocol, hostname }) => protocol === 'https:' && !LOOPBACK.has(hostname);
    return parsed.some(own) && parsed.every((url) => own(url) || web(url));
}

/**
 * Fetches a client's document or keys. The library bounds time and size, and its dispatcher breaks
 * off connections to addresses that are not public; a document that says by its name that it is on
 * this machine is meant to be.
 */
export function fetchOfClients(url, options) {
    const { protocol, hostname } = new URL(url);
    const here = LOOPBACK.has(hostname);
    if (protocol !== 'https:' && !(protocol === 'http:' && here)) {
        return Promise.reject(new Error('expected https, or http on this machine'));
    }
    const { dispatcher, ...rest } = options;
    if (!here && !dispatcher) return Promise.reject(new Error('private addresses cannot be told apart here'));
    return fetch(url, { ...rest, redirect: 'manual', ...(here ? {} : { dispatcher }) });
}
