"""A whole cluster on this machine, from nothing to "ready" to "stopped". `Cluster.run` is the story.

Ctrl-C stops in order; a second one hurries. Whatever happens to this process, the kernel ends what it
started (see `ccn.embedded.child`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ccn import errors, settings
from ccn.cli.cluster import (
    data_folder,
    digest,
    first_admin,
    fork_server,
    journal,
    model_check,
    node_credentials,
    nodes,
    ports,
    stand_in,
    summary,
)
from ccn.cli.output import lines
from ccn.cli.output.screen import Screen
from ccn.core.ids import NodeId
from ccn.embedded import etcd, supervision
from ccn.embedded.etcd import Etcd
from ccn.embedded.postgres import service
from ccn.embedded.postgres.service import Postgres
from ccn.store.connection import migrate, roles

OFFLINE = "talking to the stand-in, not to Claude: set CCN_CLAUDE_API_KEY to change that"
_STOP_DEADLINE_S = 45.0
_HURRIED_DEADLINE_S = 5.0
_MARGIN_S = 3.0
_RENEW_S = 6 * 3_600.0
_ECHO_S = 0.5  # timeout(1) and some shells send the same signal to us and to our group


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for."""

    nodes: int
    data: Path | None
    ephemeral: bool
    port: int | None
    quiet: bool
    as_json: bool


def run(wish: Wish) -> int:
    """Start it, keep it running until a signal, stop it; the exit code."""
    reading = settings.here()
    with _screen(sys.stderr if wish.as_json else sys.stdout) as shown:
        for name in reading.ignored:
            shown.say(f"{name} is no setting and has no effect")
        if {"default"} != {reading.origin("database", "url"), reading.origin("etcd", "endpoints")}:
            shown.say("the database and etcd that the settings name are left alone: ccn up brings its own")
        return asyncio.run(_until_signal(Cluster(wish, reading.settings, shown)))


async def _until_signal(cluster: Cluster) -> int:
    running = asyncio.create_task(cluster.run(), name="cluster")
    with _signals(lambda: cluster.stop(running)):
        try:
            await running
        except asyncio.CancelledError:
            cluster.shown.say("stopped")
    return 0 if cluster.was_ready else 130


class Cluster:
    """One local cluster's life."""

    def __init__(self, wish: Wish, chosen: settings.Settings, shown: Screen) -> None:
        self.shown = shown
        self.was_ready = False
        self._wish, self._chosen = wish, chosen
        self._nodes = nodes.Running()
        self._began = time.monotonic()
        self._stopping_since: float | None = None

    async def run(self) -> None:
        """Hold a folder and ports; start the services, the schema and the nodes; tell; wait."""
        wish = self._wish
        with (
            data_folder.temporary() if wish.ephemeral else data_folder.kept(wish.data) as where,
            ports.held(wish.nodes, wish.port, ports.DEFAULT_PORT) as held,
            self._journal(where) as said,
        ):
            if held.notice:
                self.shown.say(held.notice)
            self.shown.say(f"starting PostgreSQL, etcd and {_counted(wish.nodes)} on {where.data}")
            async with (
                fork_server.opened() as forking,  # first: it imports while the services start
                self._services(where, said) as (database, coordination),
                stand_in.model(self._chosen.claude, self._reporting(said), said.line) as model,
                AsyncExitStack() as beside,
            ):
                if model:
                    self.shown.say(OFFLINE)
                else:
                    await beside.enter_async_context(
                        model_check.beside(self._chosen.claude, self.shown.say)
                    )
                await _look_back(where, _names(wish.nodes), database)
                await migrate.apply(database.url)
                await roles.grant(database.url, {roles.NODE: database.node_password})
                admin = await first_admin.admin(database.url, where.key)
                wanted = self._wanted(where, held.doors, database, coordination, model)

                def record() -> data_folder.ClusterAt:
                    at = self._at(wanted, database, coordination, admin)
                    where.write(at)
                    return at

                patience_s = self._chosen.node.shutdown_timeout_s + _MARGIN_S
                await forking.ready()
                async with nodes.kept(wanted, forking, patience_s, said, record) as self._nodes:
                    shown = self._announce(record(), where, database, model)
                    with _repeated_on_enter(lambda: self.shown.say(shown)):
                        await self._renew(where)

    async def _renew(self, where: data_folder.Place) -> None:
        """For as long as the cluster runs: its certificates are short, and its nodes read new ones."""
        while True:
            await asyncio.sleep(_RENEW_S)
            try:
                await asyncio.to_thread(self._equipped, where, node_credentials.SOON)
            except (errors.CCNError, OSError) as failed:
                self.shown.say(f"the certificates of the nodes were not renewed: {failed}")

    def stop(self, running: asyncio.Task[None]) -> None:
        """Once: in order, within a deadline. Again: at once. What is late is left to the kernel."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._stopping_since is None:
            self._stopping_since = now
            self.shown.say("stopping (Ctrl-C again to hurry)")
            loop.call_later(_STOP_DEADLINE_S, self._give_up)
        elif now - self._stopping_since > _ECHO_S:
            self._nodes.hurry()
            loop.call_later(_HURRIED_DEADLINE_S, self._give_up)
        else:
            return
        running.cancel()

    def _give_up(self) -> None:
        self.shown.say("something does not stop; leaving it to the kernel, which ends it with this process")
        self.shown.close()
        os._exit(1)

    @contextmanager
    def _journal(self, where: data_folder.Place) -> Iterator[journal.Journal]:
        stream = sys.stderr if self._wish.as_json else sys.stdout
        said = journal.Journal(
            where.logs,
            self.shown.say,
            colour=stream is not None and lines.colours(stream),
            raw=self._chosen.log.format == "json",
            width=max(map(len, ("postgres", *_names(self._wish.nodes)))),
            digest=digest.Digest(quiet=self._wish.quiet),
        )
        try:
            yield said
        finally:
            said.close()

    @asynccontextmanager
    async def _services(
        self, where: data_folder.Place, said: journal.Journal
    ) -> AsyncIterator[tuple[Postgres, Etcd]]:
        chosen, data, report = self._chosen, where.data / "postgres", self._reporting(said)
        async with (
            service.running(
                data, bin=chosen.pg.bin, ephemeral=self._wish.ephemeral, on_event=report
            ) as database,
            etcd.running(bin=chosen.etcd.bin, on_event=report) as coordination,
        ):
            yield database, coordination

    def _reporting(self, said: journal.Journal) -> Callable[[supervision.Event], None]:
        """What happens to a service that nobody asked to stop or start."""

        def report(event: supervision.Event) -> None:
            if not getattr(event, "wanted", not self.was_ready):
                said.note(
                    event.service, "info" if isinstance(event, supervision.Started) else "error", str(event)
                )

        return report

    def _wanted(
        self,
        where: data_folder.Place,
        doors: Sequence[ports.Doors],
        database: Postgres,
        coordination: Etcd,
        model: Mapping[str, str],
    ) -> list[nodes.Node]:
        cluster = {
            **model,
            "CCN_DATABASE_URL": _of_nodes(database),
            "CCN_ETCD_ENDPOINTS": ",".join(coordination.endpoints),
            "CCN_CLUSTER_SIZE": str(self._wish.nodes),
        }
        given = self._equipped(where, node_credentials.ALWAYS)
        return [
            nodes.Node(name, each, nodes.environment(name, each, {**cluster, **own.environment()}))
            for (name, own), each in zip(given.items(), doors, strict=True)
        ]

    def _equipped(
        self, where: data_folder.Place, lasting: timedelta
    ) -> Mapping[NodeId, node_credentials.Prepared]:
        """What each node signs and shows, with certificates that last."""
        names = [NodeId(name) for name in _names(self._wish.nodes)]
        return node_credentials.prepare(
            where.nodes, names, [ports.HOST], datetime.now(UTC), lasting=lasting
        )

    def _at(
        self,
        wanted: Sequence[nodes.Node],
        database: Postgres,
        coordination: Etcd,
        admin: data_folder.AdminAt | None,
    ) -> data_folder.ClusterAt:
        return data_folder.ClusterAt(
            tuple(
                data_folder.NodeAt(node.id, self._nodes.pids[node.id], node.doors.url, node.doors.target)
                for node in wanted
            ),
            _of_nodes(database),
            coordination.endpoints,
            admin,
        )

    def _announce(
        self,
        at: data_folder.ClusterAt,
        where: data_folder.Place,
        database: Postgres,
        model: Mapping[str, str],
    ) -> str:
        """Say that it is ready, and return what people were told."""
        self.was_ready = True
        took_s = time.monotonic() - self._began
        colour = sys.stdout is not None and lines.colours(sys.stdout)
        unbounded = self._chosen.claude.is_unbounded and not model
        told = summary.text(at, where, database.version, took_s, colour=colour, unbounded=unbounded)
        if self._wish.as_json:
            with _screen(sys.stdout) as result:
                result.say(at.as_json())
        else:
            self.shown.say(told)
        return told


@contextmanager
def _screen(stream: object) -> Iterator[Screen]:
    screen = Screen(stream)  # type: ignore[arg-type]
    try:
        yield screen
    finally:
        screen.close()


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """A lost terminal stops the cluster too, unless the user said otherwise (nohup)."""
    loop = asyncio.get_running_loop()
    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        heard.append(signal.SIGHUP)
    for number in heard:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)


@contextmanager
def _repeated_on_enter(say: Callable[[], None]) -> Iterator[None]:
    """Whoever sits at the terminal presses Enter to see again what has scrolled away."""
    if sys.stdin is None or not sys.stdin.isatty():
        yield
        return
    loop, keyboard = asyncio.get_running_loop(), sys.stdin.fileno()

    def pressed() -> None:
        try:  # a process in the background that reads from the terminal is stopped by the kernel
            gone = os.tcgetpgrp(keyboard) != os.getpgrp() or not os.read(keyboard, 4096)
        except OSError:  # a terminal that was lost
            gone = True
        loop.remove_reader(keyboard) if gone else say()

    loop.add_reader(keyboard, pressed)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)


async def _look_back(where: data_folder.Place, names: Sequence[str], database: Postgres) -> None:
    """Write nothing to a database that does not show what the nodes here have signed: it was put back."""
    folders = {NodeId(name): where.nodes / name for name in names if (where.nodes / name).exists()}
    if folders:
        from ccn.node.recovery import database_check  # noqa: PLC0415 - a new cluster need not wait for it
        from ccn.node.signing import signing_key as signatures  # noqa: PLC0415

        for node, folder in folders.items():
            await database_check.look_for(
                settings.Database.at(database.url), node, folder, signatures.check
            )


def _of_nodes(database: Postgres) -> str:
    """The database as nodes and commands use it: as a role that owns nothing."""
    return database.url_of(roles.NODE, database.node_password)


def _names(count: int) -> list[str]:
    return [f"node-{number}" for number in range(1, count + 1)]


def _counted(count: int) -> str:
    return "one node" if count == 1 else f"{count} nodes"
