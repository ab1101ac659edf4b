"""The nodes of a local cluster: processes that start together, are kept running, and stop together."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ccn import errors, settings
from ccn.cli.cluster import ports
from ccn.cli.cluster.fork_server import ForkServer
from ccn.cli.cluster.journal import ProcessJournal
from ccn.embedded import child, supervision

_READY_DEADLINE_S = 60.0
_ANSWER_TIMEOUT_S = 3.0
_POLL_S = 0.05
_ANSWER_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """What one node is given: a name, two ports, and its settings as an environment."""

    id: str
    node_ports: ports.NodePorts
    environ: dict[str, str] = field(repr=False)


@dataclass(slots=True)
class RunningNodes:
    """The nodes that run; `pids` follows restarts."""

    pids: dict[str, int] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    ready: dict[str, asyncio.Event] = field(default_factory=dict)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def kill_all(self) -> None:
        """Kill all nodes now: cancelling a stop that is under way kills the process."""
        for task in self.tasks:
            task.cancel()


@asynccontextmanager
async def run_nodes(
    nodes: Sequence[NodeProcess],
    nursery: ForkServer,
    patience_s: float,
    journal: ProcessJournal,
    on_restart: Callable[[], object],
) -> AsyncIterator[RunningNodes]:
    """Start all nodes, wait until each is ready, and keep them running until the block ends.

    A node that cannot start is an error with its last words. A node that dies later is started again.
    """
    running = RunningNodes(ready={node.id: asyncio.Event() for node in nodes})
    try:
        async with asyncio.TaskGroup() as group:
            running.tasks = [
                group.create_task(
                    _keep_running(node, nursery, running, patience_s, journal, on_restart),
                    name=f"keep {node.id}",
                )
                for node in nodes
            ]
            for ready in running.ready.values():
                await ready.wait()
            yield running
            running.done.set()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _keep_running(  # noqa: PLR0917 - as `kept`, for one of them
    node: NodeProcess,
    nursery: ForkServer,
    running: RunningNodes,
    patience_s: float,
    journal: ProcessJournal,
    on_restart: Callable[[], object],
) -> None:
    ready = running.ready[node.id]

    def on_process_event(event: supervision.ChildEvent) -> None:
        match event:
            case supervision.ChildStarted(pid=pid):
                running.pids[node.id] = pid
                if ready.is_set():
                    journal.add_note(node.id, "info", f"back again, pid {pid}")
                    on_restart()
            case supervision.ChildExited(wanted=False) if ready.is_set():
                journal.add_note(node.id, "error", f"died after {event.lived_s:.1f} s: {event.reason}")
            case supervision.ChildRestarting():
                journal.add_note(node.id, "warning", f"starts again in {event.delay_s:.1f} s")

    try:
        async with supervision.supervise_child(
            node.id,
            lambda: nursery.start_child(node.id, ["node", "run"], node.environ),
            ready=lambda process: _wait_until_ready(node, process),
            stop=((signal.SIGTERM, patience_s),),
            on_event=on_process_event,
            on_line=lambda line: journal.add_line(node.id, line),
        ):
            ready.set()
            await running.done.wait()
    except errors.EmbeddedFailed as failed:
        raise errors.EmbeddedFailed(f"{failed}\n{journal.last_lines(node.id)}") from failed


async def _wait_until_ready(node: NodeProcess, process: child.Child) -> None:
    """Wait until this very process says that it is ready."""
    reason = "it did not answer"
    try:
        async with asyncio.timeout(_READY_DEADLINE_S):
            while process.code is None:
                if not (reason := await _find_missing_checks(node.node_ports, process.pid)):
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise errors.EmbeddedFailed(
            f"{node.id} was not ready after {_READY_DEADLINE_S:.0f} s ({reason}); its last lines:"
        ) from None
    raise errors.EmbeddedFailed(
        f"{node.id} ended while starting ({child.describe_exit(process.code)}); its last lines:"
    )


async def _find_missing_checks(doors: ports.NodePorts, pid: int) -> str:
    """Ask what the process `pid` still needs before it serves; nothing if it is ready."""
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            told = json.loads(await _get_readiness(doors))
    except (OSError, TimeoutError, ValueError):
        return "it does not answer"
    if not isinstance(told, dict) or told.get("pid") != pid:
        return f"somebody else answers on port {doors.http}"
    match told["checks"]:
        case [{"name": "record", "passes": False, "reason": str(reason)}]:  # alone: its doors stay shut
            raise errors.EmbeddedFailed(reason)
    return ", ".join(
        f"{check['name']}: {check['reason']}" for check in told["checks"] if not check["passes"]
    )


async def _get_readiness(doors: ports.NodePorts) -> bytes:
    reader, writer = await asyncio.open_connection(
        ports.HOST, doors.http, ssl=_believe_anybody() if doors.scheme == "https" else None
    )
    try:
        writer.write(b"GET /ready HTTP/1.0\r\n\r\n")
        await reader.readexactly(_ANSWER_LIMIT)
    except asyncio.IncompleteReadError as whole:  # the server closes the connection after its answer
        return whole.partial.partition(b"\r\n\r\n")[2]
    else:
        return b""
    finally:
        writer.close()


def _believe_anybody() -> ssl.SSLContext:
    """Trust any certificate: nothing secret is sent, and the answer says which process gave it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def node_environment(node_id: str, doors: ports.NodePorts, given: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of one node, over those that the user set for all."""
    return settings.child_environment(
        {
            "CCN_NODE_ID": node_id,
            "CCN_HTTP_HOST": ports.HOST,
            "CCN_HTTP_PORT": str(doors.http),
            "CCN_GRPC_HOST": ports.HOST,
            "CCN_GRPC_PORT": str(doors.grpc),
            "CCN_PEERS_HOST": ports.HOST,
            "CCN_PEERS_PORT": "0",
            "CCN_LOG_FORMAT": "json",
            **given,
        }
    )
