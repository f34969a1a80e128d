"""What both Python peers do and expect; the SDK's own words are passed in.

The two SDK generations spell results differently (`isError` and `is_error`), so a step gets
plain values, never an SDK type.
"""

import json
import sys
from importlib.metadata import version

LIMIT_SECONDS = 60
INVALID_PARAMS = -32602


class Failed(Exception):
    """The gateway did something that this peer did not expect."""


def check(holds, message):
    """Fails with `message` unless `holds`."""
    if not holds:
        raise Failed(message)


def check_tools(names):
    """The catalog as this caller must see it."""
    for wanted in ("demo_echo", "demo_add", "demo_add_note"):
        check(wanted in names, f"tools/list: no {wanted} in {sorted(names)}")


def check_echo(is_error, texts):
    """The answer to demo_echo with {"text": "hello peers"}."""
    answer = _json_text("demo_echo", is_error, texts)
    check(answer.get("echo") == {"text": "hello peers"}, f"demo_echo: wrong echo: {answer}")
    check(isinstance(answer.get("caller"), dict), f"demo_echo: no caller: {answer}")


def check_sum(is_error, texts, structured):
    """The answer to demo_add with {"a": 2, "b": 3}."""
    answer = _json_text("demo_add", is_error, texts)
    check(answer == {"sum": 5}, f"demo_add: wrong text: {answer}")
    check(structured == {"sum": 5}, f"demo_add: wrong structured content: {structured}")


def check_refused(is_error, texts):
    """The answer to demo_add without arguments: a result that a model can read."""
    check(is_error is True, f"demo_add without arguments: not an error: {texts}")
    check(any(texts), "demo_add without arguments: an error without text")


def check_unknown(code, message):
    """The protocol error for a tool that nobody has."""
    check(code == INVALID_PARAMS, f"unknown tool: expected {INVALID_PARAMS}, got {code}: {message}")


def report(protocol_version, tools):
    """The one line of a good run."""
    line = {
        "sdk": "python mcp",
        "version": version("mcp"),
        "protocolVersion": protocol_version,
        "tools": tools,
        "ok": True,
    }
    print(json.dumps(line, separators=(",", ":")))


def main(name, run, anyio):
    """Runs one peer: exit 0 and one line, or a reason on stderr and exit 1 (2: wrong usage)."""
    if len(sys.argv) != 3:
        second = "cortex-gateway" if name.endswith("stdio") else "dev token"
        print(f"usage: {name} <url of /mcp> <{second}>", file=sys.stderr)
        sys.exit(2)

    async def bounded():
        with anyio.fail_after(LIMIT_SECONDS):
            await run(sys.argv[1], sys.argv[2])

    _run(name, bounded, anyio)


def run_and_report(name, bounded, anyio):
    """Runs one flow, and prints what it returns with `"ok": true` as one line of JSON."""
    line = {"sdk": "python mcp", "version": version("mcp"), **_run(name, bounded, anyio), "ok": True}
    print(json.dumps(line, separators=(",", ":")))


def _run(name, bounded, anyio):
    try:
        return anyio.run(bounded)
    except Exception as error:
        for leaf in _leaves(error):
            print(f"{name}: {_reason(leaf)}", file=sys.stderr)
        sys.exit(1)


def _json_text(tool, is_error, texts):
    check(is_error is not True, f"{tool}: an error: {texts}")
    check(len(texts) == 1, f"{tool}: expected one text content: {texts}")
    try:
        answer = json.loads(texts[0])
    except ValueError:
        raise Failed(f"{tool}: the text is not JSON: {texts[0]}") from None
    check(isinstance(answer, dict), f"{tool}: not an object: {answer}")
    return answer


def _leaves(error):
    """The errors that count: task groups wrap what happened inside them."""
    inner = getattr(error, "exceptions", None)
    if inner is None:
        return [error]
    return [leaf for one in inner for leaf in _leaves(one)]


def _reason(error):
    if isinstance(error, Failed):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"not done after {LIMIT_SECONDS} s"
    return f"{type(error).__name__}: {error}"
