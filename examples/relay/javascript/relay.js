// One tool that passes its arguments on to an app, as the caller, and returns what it answers.
//
// `fetch` goes through the gateway: to the origin of the backend and to those that the operator granted.
// The header `cortex-credential` says as whom; the token itself is attached later, where no plugin sees it.
import { report } from 'cortex:gateway/progress@0.2.0';

export const plugin = {
  describe() {
    return {
      name: 'relay-javascript',
      version: '0.1.0',
      summary: 'Passes tool calls on to an app that answers JSON',
      capabilities: [],
    };
  },
};

export const backend = {
  async discover(target) {
    const about = await ask(target, { headers: { 'cortex-credential': 'technical' } });
    const tool = {
      name: 'relay',
      description: about,
      inputSchema: '{"type":"object"}',
      scopes: ['mcp:relay:write'],
    };
    return { tools: [tool], prompts: [], resourceTemplates: [], resources: [], skipped: [] };
  },

  async callTool(target, caller, call) {
    if (call.tool !== 'relay') {
      throw { tag: 'not-found', val: call.tool };
    }
    report(1, 2, 'asking the app');
    const text = await ask(target, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'cortex-credential': 'caller' },
      body: call.arguments,
    });
    if (!isJson(text)) {
      throw failed('backend_error', 'the app answered with something that is no JSON');
    }
    const content = [{ tag: 'text', val: text }];
    return { tag: 'complete', val: { content, structuredContent: text, isError: false } };
  },

  getPrompt: unsupported,
  readResource: unsupported,
  complete: unsupported,
  whoami: unsupported,
  reportTicket: unsupported,
  listTickets: unsupported,
  getSnapshot: unsupported,
};

// What the app answers, if it is content.
async function ask(target, request) {
  const began = Date.now();
  let answer, text;
  try {
    answer = await fetch(`${target.baseUrl}/relay`, request);
    text = await answer.text();
  } catch {
    throw Date.now() - began >= target.timeoutMs
      ? failed('backend_timeout', 'the app did not answer in time')
      : failed('backend_unavailable', 'the app cannot be reached');
  }
  switch (true) {
    case answer.ok: return text;
    case answer.status === 401: throw failed('backend_auth', 'the app did not accept the token');
    case answer.status === 403: throw failed('backend_acl', 'the app refused this call');
    default: throw failed('backend_error', `the app answered with status ${answer.status}`);
  }
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function failed(code, message) {
  return { tag: 'failed', val: { code, message } };
}

function unsupported() {
  throw { tag: 'unsupported' };
}
