// The pages: plain HTML that works without a script. Everything from outside is escaped.

const WARNING = 'For development on this machine only: anybody can sign in as anybody. Never use it in production.';

const STYLE = `
:root { color-scheme: light dark; --line: #767676; --warn: #8a3a00; --warn-back: #fff1e5; --act: #0b57d0; --on-act: #fff; }
@media (prefers-color-scheme: dark) { :root { --line: #8e8e8e; --warn: #ffb787; --warn-back: #3a1d05; --act: #a8c7fa; --on-act: #062e6f; } }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 40rem; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; }
code { overflow-wrap: anywhere; }
.warning { border: 2px solid var(--warn); background: var(--warn-back); color: var(--warn); padding: .5rem .75rem; font-weight: 600; }
.error { border-left: .3rem solid var(--warn); padding-left: .75rem; }
fieldset { border: 1px solid var(--line); margin: 1rem 0; padding: .5rem 1rem; }
legend { font-weight: 600; padding: 0 .25rem; }
label { display: block; padding: .4rem 0; }
.detail { opacity: .85; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem; }
button { font: inherit; padding: .6rem 1.2rem; margin: 0 .5rem .5rem 0; border: 1px solid var(--line); border-radius: .3rem; cursor: pointer; }
button[value=allow] { background: var(--act); color: var(--on-act); border-color: var(--act); font-weight: 600; }
:focus-visible { outline: 3px solid var(--act); outline-offset: 2px; }
`;

/** Markup that is already safe. */
class Markup {
    constructor(text) {
        this.text = text;
    }
}

/** Fills a template; what is not markup already is escaped. */
export function html(strings, ...values) {
    return new Markup(String.raw({ raw: strings }, ...values.map(render)));
}

function render(value) {
    if (value instanceof Markup) return value.text;
    if (Array.isArray(value)) return value.map(render).join('');
    if (value === undefined || value === null || value === false) return '';
    return String(value).replace(/[&<>"'`]/g, (found) => `&#${found.charCodeAt(0)};`);
}

/** Sends a page. `formTarget`: where its form may lead besides this server. */
export function sendPage(res, status, title, body, { formTarget } = {}) {
    const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} – development authorization server</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<p class="warning" role="note">${WARNING}</p>
<main>
<h1>${title}</h1>
${body}
</main>
</body>
</html>
`;
    res.writeHead(status, { ...pageHeaders(formTarget), 'content-type': 'text/html; charset=utf-8' });
    res.end(page.text);
}

/** Sends the style sheet. */
export function sendStyle(res) {
    res.writeHead(200, { 'content-type': 'text/css; charset=utf-8', 'x-content-type-options': 'nosniff' });
    res.end(STYLE);
}

/** No script, no frame, nothing from elsewhere. */
export function pageHeaders(formTarget) {
    // Browsers apply form-action to the redirect that follows the form, too.
    const forms = ["'self'", formTarget].filter(Boolean).join(' ');
    return {
        'content-security-policy':
            `default-src 'none'; style-src 'self'; form-action ${forms}; frame-ancestors 'none'; base-uri 'none'`,
        'x-frame-options': 'DENY',
        'x-content-type-options': 'nosniff',
        // Not `no-referrer`: the form's `Origin` would be `null`, and it is checked.
        'referrer-policy': 'same-origin',
        'cache-control': 'no-store',
    };
}

/** What is told where nothing else fits. */
export function errorBody(message, code) {
    return html`<p class="error">${message}</p>${code && html`<p>Error code: <code>${code}</code></p>`}
<p>Go back to your MCP client and begin again.</p>`;
}

/** The page at `/`. */
export function homeBody(issuer, config, scopes) {
    const list = (values) => html`<ul>${values.map((value) => html`<li><code>${value}</code></li>`)}</ul>`;
    return html`<p>MCP clients find their way here from the gateway. There is nothing to do on this page.</p>
<dl>
<dt>Issuer</dt><dd><code>${issuer}</code></dd>
<dt>Tokens are for</dt><dd><code>${config.resource}</code></dd>
<dt>Scopes that can be granted</dt><dd>${scopes.length ? list(scopes) : 'none yet: the gateway names none'}</dd>
<dt>Users</dt><dd>${list(config.users.map(({ sub }) => sub))}</dd>
<dt>Metadata</dt><dd><a href="/.well-known/oauth-authorization-server">RFC 8414</a>,
<a href="/.well-known/openid-configuration">OpenID</a>, <a href="/.well-known/jwks.json">keys</a></dd>
</dl>`;
}

/** The login page: who, and which scopes. */
export function loginBody({ action, client, redirect, resource, users, chosen, asked, granted, unknown, complaint }) {
    const user = (one) => html`<label><input type="radio" name="user" value="${one.sub}" required${checked(one.sub === chosen)}>
${one.name ?? one.sub} <span class="detail">(<code>${one.sub}</code>${['email', 'role', 'pool'].filter((name) => one[name]).map((name) => html`, ${name} ${one[name]}`)})</span></label>`;
    const scope = (one) => html`<label><input type="checkbox" name="scope" value="${one}"${checked(granted.includes(one))}>
<code>${one}</code></label>`;
    return html`${complaint && html`<p class="error" role="alert">${complaint}</p>`}
<dl>
<dt>Client</dt><dd>${client.name ?? 'a client without a name'} <span class="detail">(<code>${client.id}</code>)</span></dd>
<dt>You will be sent to</dt><dd><code>${redirect}</code></dd>
<dt>It asks for access to</dt><dd><code>${resource}</code></dd>
</dl>
<form method="post" action="${action}">
<fieldset><legend>Sign in as</legend>${users.map(user)}</fieldset>
<fieldset><legend>Scopes to grant</legend>${asked.map(scope)}
${unknown.length > 0 && html`<p class="detail">Asked for, but not known here and so not granted: ${unknown.map((one) => html`<code>${one}</code> `)}</p>`}</fieldset>
<button type="submit" name="answer" value="allow">Sign in and allow</button>
<button type="submit" name="answer" value="deny" formnovalidate>Deny</button>
</form>`;
}

function checked(is) {
    return new Markup(is ? ' checked' : '');
}
