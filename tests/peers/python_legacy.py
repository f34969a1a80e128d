"""Python SDK 1.x against the gateway: `initialize`, then one POST a call.

Where a session is given out, the SDK also opens the GET stream and ends with DELETE.
"""

import anyio
from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

import checks


def texts(result):
    return [block.text for block in result.content if block.type == "text"]


async def run(url, token):
    async with (
        create_mcp_http_client(headers={"X-Dev-Mode": token}) as http,
        streamable_http_client(url, http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        hello = await session.initialize()
        checks.check(hello.protocolVersion == "2025-11-25", f"initialize: got {hello.protocolVersion}")

        tools = (await session.list_tools()).tools
        checks.check_tools([tool.name for tool in tools])

        result = await session.call_tool("demo_echo", {"text": "hello peers"})
        checks.check_echo(result.isError, texts(result))
        result = await session.call_tool("demo_add", {"a": 2, "b": 3})
        checks.check_sum(result.isError, texts(result), result.structuredContent)
        result = await session.call_tool("demo_add", {})
        checks.check_refused(result.isError, texts(result))

        try:
            result = await session.call_tool("demo_no_such_tool", {})
        except McpError as error:
            checks.check_unknown(error.error.code, error.error.message)
        else:
            raise checks.Failed(f"unknown tool: expected a protocol error, got a result: {result}")

    checks.report(hello.protocolVersion, len(tools))


checks.main("python_legacy", run, anyio)
