// The little HTTP that is ours.

const LARGEST_FORM = 64 * 1024;

/** A request that is refused, with what to tell. */
export class Refused extends Error {
    constructor(status, message) {
        super(message);
        this.status = status;
    }
}

/** Reads a form, bounded. */
export async function readForm(req) {
    const type = (req.headers['content-type'] ?? '').split(';')[0].trim().toLowerCase();
    if (type !== 'application/x-www-form-urlencoded') throw new Refused(415, 'expected a form');
    const parts = [];
    let length = 0;
    for await (const part of req) {
        length += part.length;
        if (length > LARGEST_FORM) throw new Refused(413, 'the form is too large');
        parts.push(part);
    }
    return new URLSearchParams(Buffer.concat(parts).toString('utf8'));
}

/** Answers with JSON. */
export function sendJson(res, status, value) {
    res.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
    res.end(JSON.stringify(value));
}
