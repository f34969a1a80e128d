// Gives each request of the conformance suite to the server under test an access token: the suite
// has no option for one. Loaded before it (`node --import`), with the URL and the token in the
// environment. The suite sends by fetch, by undici and by node:http.
import http from "node:http";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { resolve } from "node:path";

const { origin, host } = new URL(process.env.CONFORMANCE_URL);
const authorization = `Bearer ${process.env.CONFORMANCE_TOKEN}`;

// fetch and undici: both send through one global dispatcher, undici's.
const suite = createRequire(resolve(process.argv[1]));
const undici = suite("undici");
const authorized = (headers = {}) =>
  Array.isArray(headers)
    ? [...headers, "authorization", authorization]
    : { ...(Symbol.iterator in headers ? Object.fromEntries(headers) : headers), authorization };
undici.setGlobalDispatcher(
  undici.getGlobalDispatcher().compose(
    (dispatch) => (options, handler) =>
      dispatch(
        String(options.origin) === origin
          ? { ...options, headers: authorized(options.headers) }
          : options,
        handler,
      ),
  ),
);

const request = http.request;
http.request = (...args) => {
  const sent = request(...args);
  if (sent.getHeader("host") === host) sent.setHeader("authorization", authorization);
  return sent;
};
syncBuiltinESMExports();
