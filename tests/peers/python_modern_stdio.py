"""Python SDK 2.x over stdio: server/discover, and one line a call.

`Client` silently falls back to `initialize` where the answer to `server/discover` does not
convince it, so the era is asserted.
"""

import os

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

import checks

MODERN = "2026-07-28"


def texts(result):
    return [block.text for block in result.content if block.type == "text"]


async def run(url, program):
    # The token comes from our own environment.
    server = StdioServerParameters(command=program, args=["stdio", "--url", url], env=dict(os.environ))
    async with Client(stdio_client(server)) as client:
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


checks.main("python_modern_stdio", run, anyio)
