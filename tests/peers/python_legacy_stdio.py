"""Python SDK 1.x over stdio: `initialize`, and one line a call."""

import os

import anyio
from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client

import checks


def texts(result):
    return [block.text for block in result.content if block.type == "text"]


async def run(url, program):
    # The token comes from our own environment.
    server = StdioServerParameters(command=program, args=["stdio", "--url", url], env=dict(os.environ))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
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


checks.main("python_legacy_stdio", run, anyio)
