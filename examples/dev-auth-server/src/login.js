// The login page's two requests: show it, and take the answer.

import { readForm, Refused } from './http.js';
import { loginBody, sendPage } from './pages.js';
import { OPENID_SCOPES } from './provider.js';

/** GET or POST /login/<uid>. */
export async function login(req, res, { provider, config, offered, issuer }) {
    const interaction = await provider.interactionDetails(req, res).catch((error) => {
        throw new Refused(400, `this sign-in is over, or belongs to another browser (${error.error_description ?? error.message})`);
    });
    if (new URL(req.url, issuer).pathname !== `/login/${interaction.uid}`) {
        throw new Refused(400, 'another sign-in was begun in this browser meanwhile');
    }
    const request = await describe(interaction, provider, config, offered);
    if (req.method === 'GET') {
        show(res, 200, request, { chosen: hinted(interaction, config), granted: request.asked });
        return;
    }
    if (req.method !== 'POST') throw new Refused(405, 'GET and POST only');
    await answer(req, res, request, { provider, config, interaction });
}

/** What is asked for, in words of the page. */
async function describe({ uid, params }, provider, config, offered) {
    const client = await provider.Client.find(params.client_id);
    const words = [...new Set((params.scope ?? '').split(' ').filter(Boolean))];
    const known = new Set([...OPENID_SCOPES, ...await offered.all()]);
    return {
        action: `/login/${uid}`,
        client: { id: params.client_id, name: client?.clientName },
        redirect: params.redirect_uri,
        resource: config.resource,
        users: config.users,
        asked: words.filter((word) => known.has(word)),
        unknown: words.filter((word) => !known.has(word)),
    };
}

/** The user whom the client expects, if it says so. */
function hinted({ params }, { users }) {
    const hint = params.login_hint;
    return (users.find(({ sub, email }) => hint !== undefined && (sub === hint || email === hint)) ?? users[0]).sub;
}

function show(res, status, request, choice) {
    sendPage(res, status, 'Sign in', loginBody({ ...request, ...choice }), { formTarget: target(request.redirect) });
}

/** The origin, or the scheme, that the browser is sent to in the end. */
function target(redirect) {
    const url = URL.parse(redirect);
    if (!url) return undefined;
    return ['http:', 'https:'].includes(url.protocol) ? url.origin : url.protocol;
}

async function answer(req, res, request, { provider, config, interaction }) {
    const form = await readForm(req);
    if (form.get('answer') !== 'allow') {
        const result = { error: 'access_denied', error_description: 'the user said no' };
        await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
        return;
    }
    const user = config.users.find(({ sub }) => sub === form.get('user'));
    const granted = form.getAll('scope').filter((scope) => request.asked.includes(scope));
    if (!user || !granted.length) {
        const complaint = user ? 'Tick at least one scope, or deny.' : 'Choose a user, or deny.';
        show(res, 400, request, { chosen: user?.sub, granted, complaint });
        return;
    }
    const grant = new provider.Grant({ accountId: user.sub, clientId: interaction.params.client_id });
    const [openid, others] = [true, false].map((is) => granted.filter((scope) => OPENID_SCOPES.includes(scope) === is));
    if (openid.length) grant.addOIDCScope(openid.join(' '));
    for (const resource of [interaction.params.resource].flat()) {
        if (others.length) grant.addResourceScope(resource, others.join(' '));
    }
    const result = { login: { accountId: user.sub, remember: false }, consent: { grantId: await grant.save() } };
    await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
}
