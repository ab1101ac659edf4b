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
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ccn import errors, settings
from ccn.cli.cluster import (
    data_folder,
    digest,
    first_admin,
    foreign_servers,
    fork_server,
    gateways,
    journal,
    model_check,
    nodes,
    ports,
    stand_in,
    summary,
)
from ccn.cli.cluster.credentials import link_certificates, node_credentials
from ccn.cli.cluster.database import ClusterDatabase, describe_database, run_database
from ccn.cli.cluster.fork_server import ForkServer
from ccn.cli.output import lines
from ccn.cli.output.screen import Screen
from ccn.core.ids import NodeId
from ccn.embedded import etcd, supervision
from ccn.embedded.etcd import EmbeddedEtcd
from ccn.node.recovery import database_check
from ccn.node.signing import signing_key as signatures
from ccn.store.connection import migrate, roles

OFFLINE = "talking to the stand-in, not to Claude: set CCN_CLAUDE_API_KEY to change that"
_STOP_DEADLINE_S = 45.0
_HURRIED_DEADLINE_S = 5.0
_MARGIN_S = 3.0
_RENEW_S = 6 * 3_600.0
_ECHO_S = 0.5  # timeout(1) and some shells send the same signal to us and to our group


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the user asked for."""

    nodes: int
    data: Path | None
    ephemeral: bool
    port: int | None
    quiet: bool
    as_json: bool
    tls: bool = False
    gateways: int = 0
    standby: bool = False


OpenForkServer = Callable[[], AbstractAsyncContextManager[ForkServer]]


def run_cluster(wish: UpOptions, open_fork_server: OpenForkServer = fork_server.start_fork_server) -> int:
    """Start a cluster, run it until a signal, and stop it. Return the exit code."""
    reading = settings.load_with_origins()
    with _open_screen(sys.stderr if wish.as_json else sys.stdout) as shown:
        for name in reading.ignored:
            shown.say(f"{name} is no setting and has no effect")
        if unused := foreign_servers.describe_unused(reading):
            shown.say(unused)
        return asyncio.run(_run_until_signal(LocalCluster(wish, reading.settings, shown, open_fork_server)))


async def _run_until_signal(cluster: LocalCluster) -> int:
    running = asyncio.create_task(cluster.run(), name="cluster")
    with _handle_signals(lambda: cluster.stop(running)):
        try:
            await running
        except asyncio.CancelledError:
            cluster.shown.say("stopped")
    return 0 if cluster.was_ready else 130


class LocalCluster:
    """The life of one local cluster."""

    def __init__(
        self,
        wish: UpOptions,
        chosen: settings.Settings,
        shown: Screen,
        open_fork_server: OpenForkServer = fork_server.start_fork_server,
    ) -> None:
        self.shown = shown
        self.was_ready = False
        self._wish, self._chosen = wish, chosen
        self._open_fork_server = open_fork_server
        self._nodes = nodes.RunningNodes()
        self._gateways = gateways.LocalGateways(wish.gateways)
        self._began = time.monotonic()
        self._stopping_since: float | None = None

    async def run(self) -> None:
        """Lock a folder and ports, start the services, the schema and the nodes, say so, and wait."""
        wish = self._wish
        with (
            data_folder.temporary_folder()
            if wish.ephemeral
            else data_folder.locked_folder(wish.data) as where,
            ports.hold_ports(wish.nodes + wish.gateways, wish.port, ports.DEFAULT_PORT) as held,
            self._open_journal(where) as said,
        ):
            if held.notice:
                self.shown.say(held.notice)
            self.shown.say(f"starting PostgreSQL, etcd and {_count_nodes(wish.nodes)} on {where.data}")
            async with (
                self._open_fork_server() as forking,  # first: it imports while the services start
                self._start_services(where, said) as (database, coordination),
                stand_in.run_stand_in_if_needed(
                    self._chosen.claude, self._event_reporter(said), said.add_line
                ) as model,
                AsyncExitStack() as beside,
            ):
                if model:
                    self.shown.say(OFFLINE)
                else:
                    await beside.enter_async_context(
                        model_check.check_model_beside(self._chosen.claude, self.shown.say)
                    )
                await _check_databases_record(where, _node_names(wish.nodes), database)
                await migrate.apply_pending(database.url)
                await roles.grant_roles(
                    database.url,
                    {roles.NODE: database.node_password, **self._gateways.list_passwords()},
                )
                admin = await first_admin.ensure_admin(database.url, where.key)
                wanted = self._plan_nodes(where, held.node_ports, database, coordination, model)

                def write_record() -> data_folder.ClusterAt:
                    at = self._describe_cluster(where, wanted, database, coordination, admin)
                    where.write_record(at)
                    return at

                patience_s = self._chosen.node.shutdown_timeout_s + _MARGIN_S
                await forking.wait_until_imported()
                async with nodes.run_nodes(wanted, forking, patience_s, said, write_record) as self._nodes:
                    shown = self._announce_ready(write_record(), where, database, model)
                    with _repeat_on_enter(lambda: self.shown.say(shown)):
                        await self._renew_certificates(where)

    async def _renew_certificates(self, where: data_folder.ClusterFolder) -> None:
        """Renew certificates for as long as the cluster runs. They end soon, and nodes read new ones."""
        while True:
            await asyncio.sleep(_RENEW_S)
            try:
                await asyncio.to_thread(self._renew_all, where)
            except (errors.CCNError, OSError) as failed:
                self.shown.say(f"the certificates of the nodes were not renewed: {failed}")

    def _renew_all(self, where: data_folder.ClusterFolder) -> None:
        self._equip_nodes(where, link_certificates.SOON)
        self._gateways.equip(where.nodes, link_certificates.SOON)

    def stop(self, running: asyncio.Task[None]) -> None:
        """Stop in order, within a deadline; if called again, stop at once. The kernel ends what is late."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._stopping_since is None:
            self._stopping_since = now
            self.shown.say("stopping (Ctrl-C again to hurry)")
            loop.call_later(_STOP_DEADLINE_S, self._give_up)
        elif now - self._stopping_since > _ECHO_S:
            self._nodes.kill_all()
            loop.call_later(_HURRIED_DEADLINE_S, self._give_up)
        else:
            return
        running.cancel()

    def _give_up(self) -> None:
        self.shown.say("something does not stop; leaving it to the kernel, which ends it with this process")
        self.shown.close()
        os._exit(1)

    @contextmanager
    def _open_journal(self, where: data_folder.ClusterFolder) -> Iterator[journal.ProcessJournal]:
        stream = sys.stderr if self._wish.as_json else sys.stdout
        said = journal.ProcessJournal(
            where.logs,
            self.shown.say,
            colour=stream is not None and lines.can_show_colours(stream),
            raw=self._chosen.log.format == "json",
            width=max(map(len, ("postgres", *_node_names(self._wish.nodes), *self._gateways.names))),
            digest=digest.LogDigest(quiet=self._wish.quiet),
        )
        try:
            yield said
        finally:
            said.close()

    @asynccontextmanager
    async def _start_services(
        self, where: data_folder.ClusterFolder, said: journal.ProcessJournal
    ) -> AsyncIterator[tuple[ClusterDatabase, EmbeddedEtcd]]:
        chosen, report = self._chosen, self._event_reporter(said)
        async with (
            run_database(where, chosen.pg.bin, said, report, with_standby=self._wish.standby) as database,
            etcd.run_etcd(bin=chosen.etcd.bin, on_event=report) as coordination,
        ):
            yield database, coordination

    def _event_reporter(self, said: journal.ProcessJournal) -> Callable[[supervision.ChildEvent], None]:
        """Return what reports events of a service that nobody asked to stop or start."""

        def report_event(event: supervision.ChildEvent) -> None:
            match event:
                case supervision.ChildStarted():
                    is_expected, level = not self.was_ready, "info"
                case supervision.ChildExited(wanted=wanted):
                    is_expected, level = wanted, "error"
                case _:
                    is_expected, level = not self.was_ready, "error"
            if not is_expected:
                said.add_note(event.service, level, str(event))

        return report_event

    def _plan_nodes(
        self,
        where: data_folder.ClusterFolder,
        doors: Sequence[ports.NodePorts],
        database: ClusterDatabase,
        coordination: EmbeddedEtcd,
        model: Mapping[str, str],
    ) -> list[nodes.NodeProcess]:
        cluster = {
            **foreign_servers.blank_variables(),
            **model,
            **describe_database(database, roles.NODE, database.node_password),
            "CCN_ETCD_ENDPOINTS": ",".join(coordination.endpoints),
            "CCN_CLUSTER_SIZE": str(self._wish.nodes),
        }
        given = self._equip_nodes(where, link_certificates.ALWAYS)
        before = doors[self._wish.nodes :]
        return self._gateways.plan_processes(where.nodes, before, database, cluster, tls=self._wish.tls) + [
            nodes.NodeProcess(
                name,
                replace(each, scheme="https") if self._has_tls else each,
                nodes.node_environment(name, each, {**cluster, **self._own_environment(own)}),
            )
            for (name, own), each in zip(given.items(), doors[: self._wish.nodes], strict=True)
        ]

    @property
    def _has_tls(self) -> bool:
        return self._wish.tls or self._chosen.http.tls_certificate is not None

    def _own_environment(self, own: node_credentials.NodeCredentials) -> Mapping[str, str]:
        """Return what one node alone is given: its keys, and any certificate for its doors."""
        return {**own.to_environment(), **(own.to_door_environment() if self._wish.tls else {})}

    def _equip_nodes(
        self, where: data_folder.ClusterFolder, lasting: timedelta
    ) -> Mapping[NodeId, node_credentials.NodeCredentials]:
        """Give each node its keys, and certificates that last."""
        names = [NodeId(name) for name in _node_names(self._wish.nodes)]
        return node_credentials.prepare_nodes(
            where.nodes,
            names,
            [ports.HOST],
            datetime.now(UTC),
            lasting=lasting,
            links=(link_certificates.PEERS, link_certificates.DOOR)[: 1 + self._wish.tls],
        )

    def _describe_cluster(
        self,
        where: data_folder.ClusterFolder,
        wanted: Sequence[nodes.NodeProcess],
        database: ClusterDatabase,
        coordination: EmbeddedEtcd,
        admin: data_folder.AdminAt | None,
    ) -> data_folder.ClusterAt:
        def describe(names: Sequence[str]) -> tuple[data_folder.NodeAt, ...]:
            pids = self._nodes.pids
            return tuple(
                data_folder.NodeAt(each.id, pids[each.id], each.node_ports.url, each.node_ports.target)
                for each in wanted
                if each.id in names
            )

        return data_folder.ClusterAt(
            describe(_node_names(self._wish.nodes)),
            _node_database_url(database),
            coordination.endpoints,
            admin,
            str(where.nodes / "ca" / "ca.pem") if self._wish.tls else "",
            describe(self._gateways.names),
        )

    def _announce_ready(
        self,
        at: data_folder.ClusterAt,
        where: data_folder.ClusterFolder,
        database: ClusterDatabase,
        model: Mapping[str, str],
    ) -> str:
        """Say that the cluster is ready, and return what people were told."""
        self.was_ready = True
        took_s = time.monotonic() - self._began
        colour = sys.stdout is not None and lines.can_show_colours(sys.stdout)
        unbounded = self._chosen.claude.is_unbounded and not model
        told = summary.summary_text(at, where, database.version, took_s, colour=colour, unbounded=unbounded)
        if self._wish.as_json:
            with _open_screen(sys.stdout) as result:
                result.say(at.as_json())
        else:
            self.shown.say(told)
        return told


@contextmanager
def _open_screen(stream: object) -> Iterator[Screen]:
    screen = Screen(stream)  # type: ignore[arg-type]
    try:
        yield screen
    finally:
        screen.close()


@contextmanager
def _handle_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Handle signals. A lost terminal stops the cluster too, unless the user said otherwise (nohup)."""
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
def _repeat_on_enter(say: Callable[[], None]) -> Iterator[None]:
    """Show again what has scrolled away when somebody presses Enter at the terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        yield
        return
    loop, keyboard = asyncio.get_running_loop(), sys.stdin.fileno()

    def on_key() -> None:
        try:  # a process in the background that reads from the terminal is stopped by the kernel
            gone = os.tcgetpgrp(keyboard) != os.getpgrp() or not os.read(keyboard, 4096)
        except OSError:  # a terminal that was lost
            gone = True
        loop.remove_reader(keyboard) if gone else say()

    loop.add_reader(keyboard, on_key)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)


async def _check_databases_record(
    where: data_folder.ClusterFolder, names: Sequence[str], database: ClusterDatabase
) -> None:
    """Refuse a database that does not show what the nodes here have signed: an older copy was put back."""
    folders = {NodeId(name): where.nodes / name for name in names if (where.nodes / name).exists()}
    if folders:
        for node, folder in folders.items():
            await database_check.check_folder(
                settings.DatabaseSettings.from_url(database.url), node, folder, signatures.check_signature
            )


def _node_database_url(database: ClusterDatabase) -> str:
    """Return the database as nodes and commands use it: as a role that owns nothing."""
    return database.url_of(roles.NODE, database.node_password)


def _node_names(count: int) -> list[str]:
    return [f"node-{number}" for number in range(1, count + 1)]


def _count_nodes(count: int) -> str:
    return "one node" if count == 1 else f"{count} nodes"
