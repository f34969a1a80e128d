"""One tool that passes its arguments on to an app, as the caller, and returns what it answers."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import backend
from wit_world.imports import http, progress, types


class Plugin(exports.Plugin):
    def describe(self):
        return types.Description(
            name="relay-python",
            version="0.1.0",
            summary="Passes tool calls on to an app that answers JSON",
            settings_schema=None,
            capabilities=[],
        )


class Backend(exports.Backend):
    def discover(self, target):
        about = ask("GET", target, None, http.Credential_Technical())
        tool = backend.Tool(
            name="relay",
            title=None,
            description=text_of(about),
            input_schema='{"type":"object"}',
            output_schema=None,
            annotations=None,
            icons=None,
            meta=None,
            extra=None,
            scopes=["mcp:relay:write"],
            version=None,
            deprecated=None,
        )
        return backend.Catalog(
            tools=[tool],
            prompts=[],
            resource_templates=[],
            resources=[],
            skipped=[],
            learned=None,
        )

    def call_tool(self, target, caller, call):
        if call.tool != "relay":
            raise Err(backend.CallError_NotFound(call.tool))
        progress.report(1, 2, "asking the app")
        answer = ask("POST", target, call.arguments.encode(), http.Credential_Caller())
        if not answer.is_json:
            raise failed("backend_error", "the app answered with something that is no JSON")
        text = text_of(answer)
        return backend.ToolOutcome_Complete(
            backend.ToolResult(
                content=[backend.Content_Text(text)],
                structured_content=text,
                is_error=False,
                meta=None,
                extra=None,
            )
        )

    def get_prompt(self, target, caller, call):
        raise unsupported()

    def read_resource(self, target, caller, read):
        raise unsupported()

    def complete(self, target, caller, completion):
        raise unsupported()

    def whoami(self, target, caller):
        raise unsupported()

    def report_ticket(self, target, caller, ticket):
        raise unsupported()

    def list_tickets(self, target, caller, query):
        raise unsupported()

    def get_snapshot(self, target):
        raise unsupported()


def ask(method, target, body, credential):
    """What the app answers, if it is content."""
    headers = [http.Header("content-type", "application/json")] if body is not None else []
    url = f"{target.base_url}/relay"
    try:
        answer = http.send(http.Request(method, url, headers, body, credential, None))
    except Err as error:
        if isinstance(error.value, http.HttpError_Timeout):
            raise failed("backend_timeout", "the app did not answer in time") from None
        raise failed("backend_unavailable", "the app cannot be reached") from None
    if 200 <= answer.status < 300:
        return answer
    if answer.status == 401:
        raise failed("backend_auth", "the app did not accept the token")
    if answer.status == 403:
        raise failed("backend_acl", "the app refused this call")
    raise failed("backend_error", f"the app answered with status {answer.status}")


def text_of(answer):
    return answer.body.decode("utf-8", "replace")


def failed(code, message):
    return Err(backend.CallError_Failed(backend.Failure(code, message, None)))


def unsupported():
    return Err(backend.CallError_Unsupported())
