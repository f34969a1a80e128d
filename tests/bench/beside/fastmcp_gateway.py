"""A FastMCP proxy in front of one MCP server, as another gateway to measure (`--beside`).

Its callers share one session with the server, it has no sessions of its own, and answers as JSON and not as a stream:
the least that it does for a call. It knows no users, decides nothing and keeps no records.
"""

import asyncio
import socket
import sys

import uvicorn
from fastmcp import Client, FastMCP
from fastmcp.server import create_proxy


async def serve(url: str) -> None:
    async with Client(url) as client:
        gateway = FastMCP("gateway")
        # Its tools are called as the gateway's own adapter calls them.
        gateway.mount(create_proxy(client), namespace="old")
        app = gateway.http_app(path="/mcp", json_response=True, stateless_http=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
        await server.serve(sockets=[listener])


asyncio.run(serve(sys.argv[1]))
