"""An MCP server on FastMCP of the Python SDK, for tests: `python fastmcp_server.py <port>`."""

import sys

from mcp.server.fastmcp import Context, FastMCP, Image
from pydantic import BaseModel

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)

server = FastMCP("fastmcp", host="127.0.0.1", port=int(sys.argv[1]), log_level="WARNING")


class Name(BaseModel):
    name: str


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def pixel() -> Image:
    """A small picture."""
    return Image(data=PIXEL, format="png")


@server.tool()
async def greet(ctx: Context) -> str:
    """Asks for a name and greets."""
    answer = await ctx.elicit("Who are you?", Name)
    return f"Hello {answer.data.name}" if answer.action == "accept" else f"Nobody: {answer.action}"


@server.tool()
async def steps(ctx: Context) -> str:
    """Works in steps and tells of them."""
    for step in (1, 2):
        await ctx.report_progress(step, 2, f"step {step}")
    return "done"


@server.resource("note://{name}")
def note(name: str) -> str:
    """A note."""
    return f"The note {name}"


@server.prompt()
def review(code: str) -> str:
    """Reviews code."""
    return f"Please review: {code}"


print("fastmcp listening", flush=True)
server.run(transport="streamable-http")
