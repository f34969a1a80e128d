import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError, readConfig } from '../src/config.js';

test('the defaults fit the demo', () => {
    const config = readConfig({});
    assert.equal(config.host, '127.0.0.1');
    assert.equal(config.resource, 'http://127.0.0.1:3213/mcp');
    assert.deepEqual(config.users.map(({ sub }) => sub), ['alice', 'bob', 'carol']);
    assert.deepEqual(config.clients, [{ id: 'demo-agent', secret: 'demo-secret' }]);
});

test('it listens on loopback or not at all', () => {
    for (const host of ['0.0.0.0', '::', '192.168.1.2', '128.0.0.1', 'localhost.evil.example', '127.evil.example', '']) {
        const read = () => readConfig({ DEV_AUTH_HOST: host });
        if (host === '') assert.equal(read().host, '127.0.0.1');
        else assert.throws(read, /DEV_AUTH_HOST: expected an address of this machine/);
    }
    assert.equal(readConfig({ DEV_AUTH_HOST: '::1' }).host, '::1');
});

test('it does not run in production', () => {
    assert.throws(() => readConfig({ NODE_ENV: 'production' }), /must not run there/);
});

test('all wrong values are told at once', () => {
    const env = {
        PORT: '70000',
        DEV_AUTH_TOKEN_SECONDS: '1.5',
        DEV_AUTH_RESOURCE: 'ftp://x',
        DEV_AUTH_SCOPES: 'good "bad"',
        DEV_AUTH_USERS: '[{"sub":"a"},{"sub":"a"}]',
        DEV_AUTH_CLIENTS: 'no-secret',
        DEV_AUTH_CLIENT_DOCUMENTS: 'no',
        DEV_AUTH_HOTS: '::1',
    };
    assert.throws(() => readConfig(env), (error) => {
        assert.ok(error instanceof ConfigError);
        for (const name of Object.keys(env)) assert.match(error.message, new RegExp(`^${name}: `, 'm'));
        return true;
    });
});

test('users have what tokens carry, and nothing else', () => {
    const users = (list) => readConfig({ DEV_AUTH_USERS: JSON.stringify(list) }).users;
    const whole = { sub: 'ann', name: 'Ann', email: 'ann@example.com', role: 'admin', pool: 'blue' };
    assert.deepEqual(users([whole, { sub: 'ben' }]), [whole, { sub: 'ben' }]);
    for (const wrong of [[], {}, [{}], [{ sub: '' }], [{ sub: 1 }], [{ sub: 'a', role: 1 }], [{ sub: 'a', admin: 'yes' }], [null]]) {
        assert.throws(() => users(wrong), ConfigError, JSON.stringify(wrong));
    }
});
