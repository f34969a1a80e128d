"""OAuth flows of the Python SDK, 1.x and 2.x alike, through the development authorization server.

`python python_oauth.py <flow> <url of /mcp> <issuer> [<folder with certificate.pem and key.pem>]`

The person at the login page is `browser.py`; everything else is the SDK's own doing.
"""

import base64
import json
import ssl
import sys
import threading
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

import anyio
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import OAuthClientMetadata

import checks
from browser import LIMIT_SECONDS, Browser, sign_in
from checks import check

MODERN = version("mcp").startswith("2.")
READ, WRITE = "mcp:demo:read", "mcp:demo:write"
# Nobody listens there: the person's browser stops before it.
CALLBACK = "http://127.0.0.1:49152/callback"


class Storage:
    """Where the SDK keeps what it got."""

    def __init__(self):
        self.tokens = None
        self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Person:
    """Signs in whenever the SDK asks, granting the next of the choices, then everything."""

    def __init__(self, user, *choices):
        self.user = user
        self.choices = list(choices)
        self.asked = []
        self.back = None

    async def redirect(self, url):
        choice = self.choices.pop(0) if self.choices else None
        asked, self.back = await anyio.to_thread.run_sync(sign_in, url, self.user, choice)
        self.asked.append(set(asked))

    async def callback(self):
        check(self.back.startswith(CALLBACK), f"sent back to {self.back}")
        answer = {name: values[0] for name, values in parse_qs(urlsplit(self.back).query).items()}
        check("iss" in answer, f"no iss (RFC 9207) in {self.back}")
        if not MODERN:
            return answer["code"], answer["state"]
        from mcp.client.auth import AuthorizationCodeResult

        return AuthorizationCodeResult(code=answer["code"], state=answer["state"], iss=answer["iss"])


def client_metadata(method):
    return OAuthClientMetadata(
        client_name="Python SDK <of the tests>",
        redirect_uris=[CALLBACK],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        token_endpoint_auth_method=method,
    )


def provider(url, person, storage, method="none", document=None):
    return OAuthClientProvider(
        server_url=url,
        client_metadata=client_metadata(method),
        storage=storage,
        redirect_handler=person.redirect,
        callback_handler=person.callback,
        client_metadata_url=document,
    )


class Session:
    """What both generations of the SDK can do, in one spelling."""

    def __init__(self, session):
        self._session = session

    async def tools(self):
        return {tool.name for tool in (await self._session.list_tools()).tools}

    async def call(self, tool, arguments):
        result = await self._session.call_tool(tool, arguments)
        failed = result.is_error if MODERN else result.isError
        texts = [block.text for block in result.content if block.type == "text"]
        check(not failed and len(texts) == 1, f"{tool}: {texts}")
        return json.loads(texts[0])

    async def caller(self):
        return (await self.call("demo_echo", {"text": "hello"}))["caller"]


@asynccontextmanager
async def connected(url, auth):
    http = create_mcp_http_client(auth=auth)
    if MODERN:
        from mcp import Client

        async with http, Client(streamable_http_client(url, http_client=http)) as client:
            yield Session(client)
    else:
        from mcp import ClientSession

        async with (
            http,
            streamable_http_client(url, http_client=http) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            yield Session(session)


def post(url, form=None, body=None, headers=None):
    """Sends what the SDK would not; returns the status and the JSON."""
    data = json.dumps(body) if form is None else urlencode(form)
    kind = "application/json" if form is None else "application/x-www-form-urlencoded"
    headers = {"Content-Type": kind, "Accept": "application/json, text/event-stream", **(headers or {})}
    try:
        answer = urlopen(Request(url, data=data.encode(), headers=headers), timeout=LIMIT_SECONDS)
    except HTTPError as error:
        answer = error
    with answer:
        text = answer.read().decode()
    return answer.status, json.loads(text) if text else {}


def raw_status(url, token):
    """What the gateway says to a token, without an SDK that would log in again."""
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    return post(url, body=ping, headers={"Authorization": f"Bearer {token}"})


def token_id(token):
    """The `jti` of a JWT."""
    claims = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["jti"]


async def client_credentials(url, issuer, _):
    """Without a person, as a client that is known already."""
    auth = ClientCredentialsOAuthProvider(url, Storage(), "demo-agent", "demo-secret", issuer=issuer)
    async with connected(url, auth) as session:
        checks.check_tools(await session.tools())
        caller = await session.caller()
    check(caller["sub"] == "demo-agent" and set(caller["scopes"]) == {READ, WRITE}, f"caller: {caller}")
    return {"sub": caller["sub"], "client": "demo-agent"}


async def dynamic(url, issuer, _):
    """Dynamic registration, authorization code with PKCE, refresh, and a refresh token used twice."""
    storage, person = Storage(), Person("alice")
    auth = provider(url, person, storage, "none" if MODERN else "client_secret_post")
    async with connected(url, auth) as session:
        checks.check_tools(await session.tools())
        caller = await session.caller()
        check(caller["sub"] == "alice" and caller["role"] == "admin", f"caller: {caller}")
        check({READ, WRITE} <= person.asked[0], f"asked for {person.asked}")

        old = storage.tokens
        check(old.refresh_token, "no refresh token")
        # To the SDK the token is over; it must get along by itself.
        auth.context.token_expiry_time = 1
        check((await session.caller())["sub"] == "alice", "not alice after the refresh")
        new = storage.tokens
        check(new.access_token != old.access_token, "the access token was not refreshed")
        check(new.refresh_token not in (None, old.refresh_token), "the refresh token was not rotated")
        check(len(person.asked) == 1, "a person was asked instead of refreshing")

        # Who presents the old one may have stolen it: it is refused, and so is the new one from now on.
        for stale in (old.refresh_token, new.refresh_token):
            form = {"grant_type": "refresh_token", "refresh_token": stale, "client_id": storage.client.client_id}
            if storage.client.client_secret:
                form["client_secret"] = storage.client.client_secret
            status, answer = post(f"{issuer}/token", form)
            check((status, answer["error"]) == (400, "invalid_grant"), f"a used refresh token: {status} {answer}")
    return {"sub": "alice", "client": storage.client.client_id}


async def document(url, issuer, folder):
    """A Client ID Metadata Document instead of a registration."""
    with served_document(Path(folder)) as location:
        storage, person = Storage(), Person("carol")
        auth = provider(url, person, storage, document=location)
        async with connected(url, auth) as session:
            checks.check_tools(await session.tools())
            check((await session.caller())["sub"] == "carol", "not carol")
        check(storage.client.client_id == location, f"registered as {storage.client.client_id}")
        for bad in ("redirect.json", "large.json", "somebody-elses.json"):
            request = {
                "response_type": "code",
                "client_id": location.replace("client.json", bad),
                "redirect_uri": CALLBACK,
                "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
                "code_challenge_method": "S256",
            }
            status, _, text = Browser().open(f"{issuer}/authorize?{urlencode(request)}")
            check(status == 400 and "invalid_client" in text, f"{bad}: {status} {text}")
    return {"sub": "carol", "client": location}


async def revocation(url, issuer, _):
    """A revoked token is over at once for the gateway; the SDK has the person sign in again."""
    storage, person = Storage(), Person("bob")
    async with connected(url, provider(url, person, storage)) as session:
        check((await session.caller())["sub"] == "bob", "not bob")
        token = storage.tokens.access_token
        check(raw_status(url, token)[0] == 200, "the token was not good before")

        gateway = {"Authorization": "Basic ZGVtby1hZ2VudDpkZW1vLXNlY3JldA=="}
        state = post(f"{issuer}/introspect", {"token": token}, headers=gateway)[1]
        check(state["active"] is True and state["sub"] == "bob", f"introspection: {state}")
        # Its id stands in logs and audits: knowing that is not knowing the token.
        state = post(f"{issuer}/introspect", {"token": token_id(token)}, headers=gateway)[1]
        check(state == {"active": False}, f"introspection of a token's id: {state}")
        forged = post(f"{issuer}/introspect", {"token": f"{token[:-8]}AAAAAAAA"}, headers=gateway)[1]
        check(forged == {"active": False}, f"introspection of a forged token: {forged}")
        # Another client may not revoke it.
        stranger = post(f"{issuer}/revoke", {"token": token}, headers=gateway)
        check(stranger[0] == 400, f"somebody else revoked the token: {stranger}")

        revoked = post(f"{issuer}/revoke", {"token": token, "client_id": storage.client.client_id})
        check(revoked[0] == 200, f"revocation: {revoked}")
        state = post(f"{issuer}/introspect", {"token": token}, headers=gateway)[1]
        check(state == {"active": False}, f"introspection after revocation: {state}")
        status, answer = raw_status(url, token)
        check(status == 401 and "revoked" in answer["error"]["message"], f"a revoked token: {status} {answer}")

        check((await session.caller())["sub"] == "bob", "not bob again")
        check(len(person.asked) == 2, f"the person was asked {len(person.asked)} times")
    return {"sub": "bob", "client": storage.client.client_id}


async def step_up(url, issuer, _):
    """Too small a grant at first; the gateway's 403 makes the SDK ask for the rest."""
    storage, person = Storage(), Person("bob", [READ])
    async with connected(url, provider(url, person, storage)) as session:
        tools = await session.tools()
        check("demo_echo" in tools and "demo_add_note" not in tools, f"tools: {sorted(tools)}")
        note = await session.call("demo_add_note", {"text": "stepped up"})
        check(note["author"] == "bob", f"note: {note}")
        check(len(person.asked) == 2 and WRITE in person.asked[1], f"asked for {person.asked}")
        check(WRITE in storage.tokens.scope.split(), f"scope: {storage.tokens.scope}")
    return {"sub": "bob", "client": storage.client.client_id}


class served_document:
    """Serves a client's document by https, on this machine and only meanwhile."""

    def __init__(self, folder):
        self._folder = folder

    def __enter__(self):
        server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        location = f"https://localhost:{server.server_port}/client.json"
        metadata = {
            "client_id": location,
            "client_name": "Python SDK with a document",
            # Without a port: a native client gets another one each time (RFC 8252 §7.3).
            "redirect_uris": ["http://127.0.0.1/callback"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }
        documents = {
            "/client.json": metadata,
            "/large.json": {**metadata, "client_id": location.replace("client", "large"), "x": "x" * 6000},
            "/somebody-elses.json": metadata,
        }

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps(documents.get(self.path, {})).encode()
                self.send_response(200 if self.path in documents else 302)
                if self.path not in documents:
                    self.send_header("Location", location)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server.RequestHandlerClass = Handler
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "certificate.pem", self._folder / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._server = server
        return location

    def __exit__(self, *_):
        self._server.shutdown()


async def token(url, issuer, _):
    """A token of alice's, for clients that are given one."""
    storage = Storage()
    async with connected(url, provider(url, Person("alice"), storage)):
        pass
    return {"token": storage.tokens.access_token}


FLOWS = {flow.__name__: flow for flow in (client_credentials, dynamic, document, revocation, step_up, token)}


def main():
    if len(sys.argv) not in (4, 5) or sys.argv[1] not in FLOWS:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    flow, url, issuer = sys.argv[1:4]

    async def bounded():
        with anyio.fail_after(checks.LIMIT_SECONDS):
            return await FLOWS[flow](url, issuer, sys.argv[4] if len(sys.argv) == 5 else None)

    checks.run_and_report(f"python_oauth {flow}", bounded, anyio)


main()
