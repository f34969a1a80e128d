"""Python SDK 2.x against the gateway: server/discover, then one stateless POST a call.

`Client` probes by itself (`mode="auto"`) and silently falls back to `initialize` where the
answer to `server/discover` does not convince it, so the era is asserted: by what the SDK
negotiated and by what crossed the wire.
"""

import anyio
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

import checks

MODERN = "2026-07-28"


def texts(result):
    return [block.text for block in result.content if block.type == "text"]


class Wire:
    """Watches that no request falls back to the legacy era, and none gets a session."""

    last_status = "nothing"

    async def sent(self, request):
        version = request.headers.get("mcp-protocol-version")
        checks.check(request.method == "POST", f"wire: a modern client sent {request.method}")
        checks.check(
            version == MODERN,
            f"wire: the SDK fell back to MCP-Protocol-Version {version} after HTTP {self.last_status}",
        )

    async def received(self, response):
        self.last_status = response.status_code
        checks.check("mcp-session-id" not in response.headers, "wire: a session was minted for a modern request")


async def run(url, token):
    wire = Wire()
    http = create_mcp_http_client(headers={"X-Dev-Mode": token})
    http.event_hooks = {"request": [wire.sent], "response": [wire.received]}
    async with http, Client(streamable_http_client(url, http_client=http)) as client:
        checks.check(client.protocol_version == MODERN, f"server/discover: got {client.protocol_version}")

        tools = (await client.list_tools()).tools
        checks.check_tools([tool.name for tool in tools])

        result = await client.call_tool("demo_echo", {"text": "hello peers"})
        checks.check_echo(result.is_error, texts(result))
        result = await client.call_tool("demo_add", {"a": 2, "b": 3})
        checks.check_sum(result.is_error, texts(result), result.structured_content)
        result = await client.call_tool("demo_add", {})
        checks.check_refused(result.is_error, texts(result))

        try:
            result = await client.call_tool("demo_no_such_tool", {})
        except MCPError as error:
            checks.check_unknown(error.code, error.message)
        else:
            raise checks.Failed(f"unknown tool: expected a protocol error, got a result: {result}")

    checks.report(MODERN, len(tools))


checks.main("python_modern", run, anyio)
