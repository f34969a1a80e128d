// Which scopes can be granted: those that the gateway says it knows (RFC 9728 §2,
// `scopes_supported`) and those of the configuration.

import { SCOPE } from './config.js';

/** How long an answer holds; tools come and go while somebody develops. */
const HOLDS_MS = 2_000;
const TIMEOUT_MS = 2_000;
const LARGEST_DOCUMENT = 256 * 1024;

/** The scopes of one resource. What was learnt is kept when the gateway is down. */
export class OfferedScopes {
    #resource;
    #configured;
    #learnt = [];
    #until = 0;
    #asking;

    constructor(resource, configured) {
        this.#resource = resource;
        this.#configured = configured;
    }

    /** All of them, sorted. */
    async all() {
        if (Date.now() >= this.#until) {
            this.#asking ??= this.#ask().finally(() => {
                this.#asking = undefined;
                this.#until = Date.now() + HOLDS_MS;
            });
            await this.#asking;
        }
        return [...new Set([...this.#configured, ...this.#learnt])].sort();
    }

    async #ask() {
        const url = metadataUrl(this.#resource);
        try {
            const answer = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) });
            const document = await boundedJson(answer);
            if (document.resource !== this.#resource) {
                throw new Error(`it names the resource ${JSON.stringify(document.resource)}, not ${this.#resource}`);
            }
            const scopes = Array.isArray(document.scopes_supported) ? document.scopes_supported : [];
            this.#learnt = scopes.filter((scope) => typeof scope === 'string' && SCOPE.test(scope));
        } catch (error) {
            const why = error.cause?.code ?? error.message;
            console.error(`dev-auth-server: the gateway's scopes cannot be learnt from ${url}: ${why}`);
        }
    }
}

/** Where a resource's metadata is (RFC 9728 §3.1). */
export function metadataUrl(resource) {
    const { origin, pathname, search } = new URL(resource);
    return `${origin}/.well-known/oauth-protected-resource${pathname === '/' ? '' : pathname}${search}`;
}

async function boundedJson(answer) {
    if (answer.status !== 200) throw new Error(`it answers ${answer.status}`);
    let text = '';
    const decoder = new TextDecoder();
    for await (const part of answer.body) {
        text += decoder.decode(part, { stream: true });
        if (text.length > LARGEST_DOCUMENT) throw new Error('it is too large');
    }
    const document = JSON.parse(text);
    if (document === null || typeof document !== 'object') throw new Error('it is no JSON object');
    return document;
}
