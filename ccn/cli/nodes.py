"""The nodes of a local cluster: processes that start together, are kept running, and stop together."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ccn import errors, settings
from ccn.cli import ports
from ccn.cli.journal import Journal
from ccn.embedded import child, supervision

_READY_DEADLINE_S = 60.0
_ANSWER_TIMEOUT_S = 3.0
_POLL_S = 0.05
_BODY_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Node:
    """What one node is given: a name, two ports, and its settings as an environment."""

    id: str
    doors: ports.Doors
    environ: dict[str, str] = field(repr=False)


@dataclass(slots=True)
class Running:
    """The nodes that run; `pids` follows restarts."""

    pids: dict[str, int] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    ready: dict[str, asyncio.Event] = field(default_factory=dict)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def hurry(self) -> None:
        """Give no node any more time: whoever stops one and is cancelled again kills it."""
        for task in self.tasks:
            task.cancel()


@asynccontextmanager
async def kept(
    nodes: Sequence[Node], patience_s: float, journal: Journal, on_restart: Callable[[], object]
) -> AsyncIterator[Running]:
    """Start all nodes, wait until each is ready, and keep them running until the block ends.

    A node that cannot start is an error, with its last words; one that dies later is started again.
    """
    running = Running(ready={node.id: asyncio.Event() for node in nodes})
    try:
        async with asyncio.TaskGroup() as group:
            running.tasks = [
                group.create_task(
                    _keep(node, running, patience_s, journal, on_restart), name=f"keep {node.id}"
                )
                for node in nodes
            ]
            for ready in running.ready.values():
                await ready.wait()
            yield running
            running.done.set()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _keep(
    node: Node, running: Running, patience_s: float, journal: Journal, on_restart: Callable[[], object]
) -> None:
    ready = running.ready[node.id]

    def happened(event: supervision.Event) -> None:
        match event:
            case supervision.Started(pid=pid):
                running.pids[node.id] = pid
                if ready.is_set():
                    journal.note(node.id, "info", f"back again, pid {pid}")
                    on_restart()
            case supervision.Exited(wanted=False) if ready.is_set():
                journal.note(node.id, "error", f"died after {event.lived_s:.1f} s: {event.reason}")
            case supervision.Restarting():
                journal.note(node.id, "warning", f"starts again in {event.delay_s:.1f} s")

    try:
        async with supervision.kept(
            node.id,
            lambda: child.start([sys.executable, "-P", "-m", "ccn", "node", "run"], env=node.environ),
            ready=lambda process: _ready(node, process),
            stop=((signal.SIGTERM, patience_s),),
            on_event=happened,
            on_line=lambda line: journal.line(node.id, line),
        ):
            ready.set()
            await running.done.wait()
    except errors.EmbeddedFailed as failed:
        raise errors.EmbeddedFailed(f"{failed}\n{journal.last(node.id)}") from failed


async def _ready(node: Node, process: child.Child) -> None:
    """Wait until the node says that it is ready, that very process, and not one that has its port."""
    reason = "it does not listen yet"
    try:
        async with asyncio.timeout(_READY_DEADLINE_S):
            while (reason := await _answer(node.doors.http)) != "":
                if process.code is not None:
                    break
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise errors.EmbeddedFailed(
            f"{node.id} was not ready after {_READY_DEADLINE_S:.0f} s ({reason}); its last lines:"
        ) from None
    if process.code is not None:
        raise errors.EmbeddedFailed(
            f"{node.id} ended while starting ({child.described(process.code)}); its last lines:"
        )


async def _answer(port: int) -> str:
    """Empty if the node on this port is ready, else why not."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(ports.HOST, port)
            try:
                writer.write(b"GET /ready HTTP/1.0\r\n\r\n")
                answer = await reader.read(_BODY_LIMIT)
            finally:
                writer.close()
            return (
                "" if b" 200 " in answer.split(b"\r\n", 1)[0] else answer[-400:].decode("utf-8", "replace")
            )
    return "it does not answer"


def environment(
    node_id: str, doors: ports.Doors, database_url: str, etcd_endpoints: Sequence[str], state: Path
) -> dict[str, str]:
    """The settings of one node, over those that the user set for all."""
    return settings.environment(
        {
            "CCN_NODE_ID": node_id,
            "CCN_NODE_STATE_DIR": str(state),
            "CCN_HTTP_HOST": ports.HOST,
            "CCN_HTTP_PORT": str(doors.http),
            "CCN_GRPC_HOST": ports.HOST,
            "CCN_GRPC_PORT": str(doors.grpc),
            "CCN_DATABASE_URL": database_url,
            "CCN_ETCD_ENDPOINTS": ",".join(etcd_endpoints),
            "CCN_LOG_FORMAT": "json",
        }
    )
