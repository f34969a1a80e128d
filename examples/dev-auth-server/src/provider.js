// The OAuth server itself: npm `oidc-provider`, told what to do.

import { randomBytes } from 'node:crypto';
import { errors, interactionPolicy, Provider } from 'oidc-provider';
import { configured, fetchOfClients, fit } from './clients.js';
import { ALGORITHM } from './keys.js';
import { errorBody, sendPage } from './pages.js';
import { remember, wasPresented } from './tokens.js';

/** Scopes of OpenID; all others belong to the resource. */
export const OPENID_SCOPES = ['openid', 'email', 'profile', 'offline_access'];

const WEEKS = 14 * 24 * 3600;

/** Makes the server. `offered`: the scopes of the resource. */
export function makeProvider(issuer, config, key, offered) {
    const users = new Map(config.users.map((user) => [user.sub, user]));
    const provider = new Provider(issuer, {
        jwks: { keys: [key] },
        clients: config.clients.map(configured),
        routes: {
            authorization: '/authorize',
            token: '/token',
            registration: '/register',
            introspection: '/introspect',
            revocation: '/revoke',
            jwks: '/.well-known/jwks.json',
        },
        scopes: OPENID_SCOPES,
        claims: { openid: ['sub'], email: ['email'], profile: ['name'] },
        responseTypes: ['code'],
        pkce: { required: () => true },
        conformIdTokenClaims: false,
        cookies: { keys: [randomBytes(32).toString('base64url')] },
        interactions: { policy: alwaysAsk(), url: (_ctx, interaction) => `/login/${interaction.uid}` },
        // A grant is what was chosen on the page, and never an older choice.
        loadExistingGrant: ({ oidc }) => {
            const id = oidc.result?.consent?.grantId;
            return id ? provider.Grant.find(id) : undefined;
        },
        findAccount: (_ctx, sub) => account(users.get(sub)),
        extraTokenClaims: (_ctx, token) => (token.kind === 'AccessToken' ? claims(users.get(token.accountId)) : undefined),
        formats: { customizers: { jwt: (_ctx, token, jwt) => remember(token, jwt.payload) } },
        expiresWithSession: () => false,
        issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
        // RFC 9700 §4.14.2: each is good once, and the second use ends the grant.
        rotateRefreshToken: true,
        ttl: {
            AccessToken: config.tokenSeconds,
            ClientCredentials: config.tokenSeconds,
            AuthorizationCode: 60,
            IdToken: config.tokenSeconds,
            RefreshToken: WEEKS,
            Grant: WEEKS,
            Interaction: 3600,
            Session: 3600,
        },
        extraClientMetadata: {
            properties: ['software_id', 'software_version'],
            validator: (_ctx, _name, _value, metadata) => fit(metadata),
        },
        fetch: fetchOfClients,
        fetchResponseBodyLimits: { jwks_uri: 64 * 1024, sector_identifier_uri: 64 * 1024 },
        features: {
            clientCredentials: { enabled: true },
            clientIdMetadataDocument: { enabled: config.clientDocuments, ack: 'draft-02' },
            devInteractions: { enabled: false },
            dPoP: { enabled: false },
            introspection: { enabled: true, allowedPolicy: mayIntrospect },
            pushedAuthorizationRequests: { enabled: false },
            registration: { enabled: true, issueRegistrationAccessToken: false },
            resourceIndicators: {
                enabled: true,
                // Clients older than RFC 8707 name no resource: there is only one.
                defaultResource: () => config.resource,
                useGrantedResource: () => true,
                getResourceServerInfo: (ctx, indicator) => resourceServer(ctx, indicator, config, offered),
            },
            revocation: { enabled: true, allowedPolicy: mayRevoke },
            rpInitiatedLogout: { enabled: false },
            userinfo: { enabled: false },
        },
        renderError: (ctx, out) => {
            ctx.respond = false;
            sendPage(ctx.res, ctx.status, 'This did not work', errorBody(explained(out.error_description), out.error));
        },
    });
    logTo(provider);
    return provider;
}

/** What went wrong, with the next step where it is ours to know. */
function explained(description = 'It is not known why.') {
    if (!description.startsWith('client_id metadata document fetch failed')) return description;
    return 'The client describes itself in a document on the Internet, which cannot be fetched from here. '
        + 'Start this server with DEV_AUTH_CLIENT_DOCUMENTS=off, and clients register instead.';
}

/** One page that asks for user and scopes, each time. */
function alwaysAsk() {
    const { Check, Prompt } = interactionPolicy;
    const unless = (part) => new Check('not_asked', 'nobody was asked', ({ oidc }) => !oidc.result?.[part]);
    const policy = interactionPolicy.base();
    policy.clear();
    policy.add(new Prompt({ name: 'login', requestable: true }, unless('login')));
    policy.add(new Prompt({ name: 'consent', requestable: true }, unless('consent')));
    return policy;
}

/** RFC 8707: the gateway is the only resource, and its name is the audience. */
async function resourceServer(ctx, indicator, config, offered) {
    const same = (one, other) => new URL(one).href.replace(/\/$/, '') === new URL(other).href.replace(/\/$/, '');
    if (!same(indicator, config.resource)) {
        throw new errors.InvalidTarget(`tokens are for ${config.resource} only`);
    }
    const scopes = await offered.all();
    // RFC 6749 §3.3: who asks for nothing gets the default, which is everything.
    if (!ctx.oidc.params.scope && scopes.length) ctx.oidc.params.scope = scopes.join(' ');
    return {
        scope: scopes.join(' '),
        audience: config.resource,
        accessTokenTTL: config.tokenSeconds,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: ALGORITHM } },
    };
}

function account(user) {
    return user && { accountId: user.sub, claims: () => ({ sub: user.sub, email: user.email, name: user.name }) };
}

/** What the gateway reads besides the claims of RFC 9068. */
function claims(user) {
    if (!user) return undefined;
    const { email, name, pool, role } = user;
    return {
        ...(email && { email }), ...(name && { name }), ...(pool && { pool }), ...(role && { metadata: { role } }),
    };
}

function mayIntrospect(ctx, client, token) {
    return wasPresented(ctx.req, token) && (client.clientAuthMethod !== 'none' || token.clientId === client.clientId);
}

/** RFC 7009 §2.1: whose token it is not, is told so. */
function mayRevoke(ctx, client, token) {
    if (!wasPresented(ctx.req, token)) return false;
    if (token.clientId !== client.clientId) throw new errors.InvalidRequest('the token belongs to another client');
    return true;
}

/** A line for each thing that a developer wonders about; no token, no code. */
function logTo(provider) {
    const say = (line) => console.error(`dev-auth-server: ${line.replace(/[^\x20-\x7e]/g, '?')}`);
    const why = (error) => `${error.error ?? error.message}: ${error.error_description ?? ''} ${error.error_detail ?? ''}`.trimEnd();
    provider.on('registration_create.success', (_ctx, client) => say(`registered ${client.clientId} (${client.clientName ?? 'no name'})`));
    provider.on('grant.success', ({ oidc }) => {
        const token = oidc.entities.AccessToken ?? oidc.entities.ClientCredentials;
        say(`${oidc.params.grant_type}: a token for ${token?.accountId ?? 'the client itself'} to ${oidc.client.clientId}, scope ${token?.scope ?? 'none'}`);
    });
    for (const event of ['authorization.error', 'grant.error', 'registration_create.error', 'introspection.error', 'revocation.error']) {
        provider.on(event, (_ctx, error) => say(`${event}: ${why(error)}`));
    }
    provider.on('server_error', (_ctx, error) => say(`server_error: ${error.stack}`));
}
