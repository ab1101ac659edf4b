"""The model of a local cluster that was given none: the stand-in, as one more child process.

Separate from the services, which every cluster needs. If a key or an address is set, no
stand-in runs.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from ccn import errors, settings
from ccn.embedded import child, ports, supervision
from ccn.embedded.child import Child

NAME = "stand-in"
_READY_TIMEOUT_S = 30.0
_POLL_S = 0.05

OnEvent = Callable[[supervision.ChildEvent], None]
OnLine = Callable[[str, str], None]


@asynccontextmanager
async def run_stand_in_if_needed(
    claude: settings.ClaudeSettings, on_event: OnEvent, on_line: OnLine
) -> AsyncIterator[Mapping[str, str]]:
    """Run a stand-in if no model is set. Return the settings by which nodes find it."""
    if claude.api_key.get_secret_value() or claude.base_url != settings.ClaudeSettings().base_url:
        yield {}
        return
    async with AsyncExitStack() as stack:

        def serve_on(port: int) -> AbstractAsyncContextManager[int]:
            return _run_stand_in(port, claude.stand_in_words_s, on_event, on_line)

        port = await ports.serve_on_free_ports(stack, 1, serve_on)
        yield {"CCN_CLAUDE_BASE_URL": f"http://{ports.HOST}:{port}", "CCN_CLAUDE_STAND_IN": "true"}


@asynccontextmanager
async def _run_stand_in(
    port: int, words_s: float, on_event: OnEvent, on_line: OnLine
) -> AsyncIterator[int]:
    """Run it on one port for as long as it runs, because nodes are told the port once."""
    argv = [sys.executable, "-P", "-m", "ccn.claude.stand_in", "--host", ports.HOST]
    argv += ["--port", str(port), "--words-s", str(words_s)]
    async with supervision.supervise_child(
        NAME,
        lambda: child.start(argv),
        ready=lambda started: _wait_until_listening(started, port),
        stop=((signal.SIGTERM, 2.0),),
        on_event=on_event,
        on_line=lambda line: on_line(NAME, line),
    ):
        yield port


async def _wait_until_listening(started: Child, port: int) -> None:
    """Wait until the stand-in listens."""
    try:
        async with asyncio.timeout(_READY_TIMEOUT_S):
            while started.code is None:
                try:
                    _, writer = await asyncio.open_connection(ports.HOST, port)
                except OSError:
                    await asyncio.sleep(_POLL_S)
                else:
                    writer.close()
                    return
    except TimeoutError:
        raise errors.EmbeddedFailed(f"the {NAME} did not listen within {_READY_TIMEOUT_S:.0f} s") from None
    raise errors.PortTaken(f"the {NAME} ended while starting ({child.describe_exit(started.code)})")
