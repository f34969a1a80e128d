import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fetchOfClients, fit } from '../src/clients.js';
import { guard } from '../src/guard.js';
import { publicPart, signingKey } from '../src/keys.js';
import { html, pageHeaders } from '../src/pages.js';
import { metadataUrl } from '../src/scopes.js';

test('what comes from outside is escaped', () => {
    const name = '<script>alert("x")</script>\'`&';
    const { text } = html`<a title="${name}">${[html`<b>${name}</b>`, undefined, false]}</a>`;
    const escaped = '&#60;script&#62;alert(&#34;x&#34;)&#60;/script&#62;&#39;&#96;&#38;';
    assert.equal(text, `<a title="${escaped}"><b>${escaped}</b></a>`);
});

test('pages run no script and sit in no frame', () => {
    const policy = pageHeaders('http://127.0.0.1:6276')['content-security-policy'];
    assert.match(policy, /^default-src 'none'; style-src 'self'; form-action 'self' http:\/\/127\.0\.0\.1:6276; frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe|script/);
});

test('a client is fitted to what is served here', () => {
    const fitted = (metadata) => {
        fit(metadata);
        return metadata;
    };
    const native = ['http://127.0.0.1/callback', 'http://localhost:1/x', 'http://[::1]/', 'cursor://x/cb', 'https://vscode.dev/redirect'];
    assert.deepEqual(
        fitted({ scope: 'a b', grant_types: ['authorization_code', 'urn:x'], redirect_uris: native, application_type: 'web' }),
        { grant_types: ['authorization_code'], redirect_uris: native, application_type: 'native' },
    );
    for (const uris of [['https://app.example/cb'], ['http://127.0.0.1/cb', 'http://app.example/cb'], ['https://localhost/cb'], ['?'], [1], 'x']) {
        assert.equal(fitted({ redirect_uris: uris, application_type: 'web' }).application_type, 'web', JSON.stringify(uris));
    }
});

test('documents of clients are fetched by https, or from this machine', async () => {
    for (const url of ['http://app.example/client.json', 'http://127.0.0.1.evil.example/', 'ftp://localhost/', 'data:,x']) {
        await assert.rejects(fetchOfClients(url, {}), /expected https/, url);
    }
    await assert.rejects(fetchOfClients('https://app.example/client.json', {}), /private addresses/);
});

test('the key is kept when asked to, for its owner only', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'dev-auth-'));
    try {
        const file = join(folder, 'key.json');
        const key = await signingKey(file);
        assert.equal(statSync(file).mode & 0o777, 0o600);
        assert.deepEqual(await signingKey(file), key);
        assert.deepEqual(Object.keys(publicPart(key)), ['kty', 'n', 'e', 'kid', 'use', 'alg']);
        writeFileSync(file, '{"kty":"RSA"}');
        await assert.rejects(signingKey(file), /holds no key of this server/);
        assert.equal(readFileSync(file, 'utf8'), '{"kty":"RSA"}');
        assert.notEqual((await signingKey()).kid, (await signingKey()).kid);
    } finally {
        rmSync(folder, { recursive: true });
    }
});

test('the metadata of a resource is where RFC 9728 says', () => {
    for (const [resource, url] of [
        ['http://127.0.0.1:3213/mcp', 'http://127.0.0.1:3213/.well-known/oauth-protected-resource/mcp'],
        ['https://mcp.example.com', 'https://mcp.example.com/.well-known/oauth-protected-resource'],
        ['https://example.com/a/b?c=d', 'https://example.com/.well-known/oauth-protected-resource/a/b?c=d'],
    ]) {
        assert.equal(metadataUrl(resource), url);
    }
});

test('only pages of this machine may call by script', () => {
    const issuer = 'http://127.0.0.1:9400';
    const call = (url, headers, method = 'POST') => {
        const set = {};
        const res = { setHeader: (name, value) => { set[name] = value; }, writeHead: () => res, end: () => res };
        guard({ url, method, headers: { host: '127.0.0.1:9400', ...headers } }, res, issuer);
        return set['access-control-allow-origin'];
    };
    for (const origin of ['http://localhost:6274', 'http://127.0.0.1:1', 'http://[::1]:8080']) {
        assert.equal(call('/token', { origin }), origin);
        assert.throws(() => call('/login/x', { origin }), { status: 403 }, 'the form is its own page\'s');
    }
    for (const origin of ['https://evil.example', 'http://localhost.evil.example', 'http://127.0.0.1.evil.example', 'null', 'https://localhost']) {
        assert.throws(() => call('/token', { origin }), { status: 403 }, origin);
        assert.equal(call('/.well-known/openid-configuration', { origin }, 'GET'), '*');
    }
    assert.equal(call('/login/x', { origin: issuer }), undefined);
    assert.equal(call('/token', {}), undefined);
    for (const host of ['evil.example', 'evil.example:9400', 'localhost:9400', '127.0.0.1', undefined]) {
        assert.throws(() => call('/', { host }, 'GET'), { status: 421 }, host);
    }
});
