"""What a node needs of the servers that it calls: that they answer, their versions, and the same time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from ccn import settings
from ccn.cli.doctor import findings
from ccn.cli.doctor.findings import DoctorFinding
from ccn.etcd import access, server_status
from ccn.etcd.server_status import EtcdServerStatus
from ccn.gateway import redis_link
from ccn.service import servers
from ccn.store.connection import migrate, pool
from ccn.store.connection.pool import Record

OLDEST_POSTGRES = 16
GOOD_ETCD = {(3, 5): 28, (3, 6): 9}
"""From which release on an etcd of this line loses nothing that it acknowledged when it is killed."""
_SKEW_LOOK_S, _SKEW_MEND_S = 0.5, 2.0
_REDIS_S = 2.0


async def check_servers(chosen: settings.Settings) -> list[DoctorFinding]:
    """Ask all servers at once."""
    checks = {
        "PostgreSQL": _check_database(chosen),
        "etcd": _check_etcd(chosen.etcd),
        "Redis": _check_redis(chosen.limits),
    }
    found = await asyncio.gather(*(findings.await_findings(*each) for each in checks.items()))
    return [finding for several in found for finding in several]


async def _check_database(chosen: settings.Settings) -> list[DoctorFinding]:
    if not chosen.database.url.get_secret_value():
        return [
            findings.mend("PostgreSQL", "CCN_DATABASE_URL is not set: a node needs its cluster's database")
        ]
    database = servers.prepare_servers(chosen).database.model_copy(update={"pool_size": 1})
    async with pool.open(database, "ccn doctor") as connections:
        await connections.value("SELECT 1")
        before = datetime.now(UTC)
        row = await connections.row(_ABOUT)
        after = datetime.now(UTC)
    assert row is not None
    plan = await migrate.load_plan(database.url.get_secret_value())
    return [
        *_judge_database(row, chosen),
        judge_clock((row["now"] - before).total_seconds(), (row["now"] - after).total_seconds()),
        findings.look("PostgreSQL", f"{len(plan.pending)} files of the schema are to run: `ccn migrate`")
        if plan.pending
        else findings.ok("PostgreSQL", "the schema is the one of this program"),
    ]


def _judge_database(row: Record, chosen: settings.Settings) -> Iterator[DoctorFinding]:
    about, major = "PostgreSQL", row["version"] // 10_000
    if major < OLDEST_POSTGRES:
        yield findings.mend(about, f"this is version {major}; CCN needs {OLDEST_POSTGRES} or newer")
    else:
        yield findings.ok(about, f"version {major}, as {row['role']}")
    if row["encoding"] != "UTF8":
        yield findings.mend(about, f"the database is encoded in {row['encoding']}: make one in UTF8")
    if row["is_superuser"]:
        yield findings.look(about, f"{row['role']} is a superuser, whom nothing binds: log in as ccn_node")
    needed = chosen.database.pool_size + chosen.database.search_pool_size + 2
    if row["connections"] < needed * chosen.cluster.size:
        yield findings.look(
            about,
            f"max_connections is {row['connections']}; {chosen.cluster.size} nodes may need "
            f"{needed * chosen.cluster.size}",
        )
    if row["standbys"] and row["commit"] in {"off", "local"}:
        yield findings.mend(
            about, f"synchronous_commit is {row['commit']}, so no commit waits for standbys"
        )


def judge_clock(least_s: float, most_s: float) -> DoctorFinding:
    """Judge by how much the clock of the database is ahead, which is between these."""
    ahead_s = min((most_s, least_s), key=abs) if least_s * most_s > 0 else 0.0
    says = f"at most {abs(ahead_s):.1f} s from that of PostgreSQL"
    if abs(ahead_s) > _SKEW_MEND_S:
        return findings.mend(
            "clock", f"{abs(ahead_s):.1f} s from that of PostgreSQL: its votes would not count"
        )
    return (
        findings.look("clock", f"{says}: keep clocks in step")
        if abs(ahead_s) > _SKEW_LOOK_S
        else findings.ok("clock", says)
    )


async def _check_etcd(chosen: settings.EtcdSettings) -> list[DoctorFinding]:
    if not chosen.endpoints:
        return [findings.mend("etcd", "CCN_ETCD_ENDPOINTS is not set: nodes find each other there")]
    reached = access.read_access(chosen, datetime.now(UTC))
    statuses = await server_status.load_statuses(reached)
    return [judge_etcd(each, among=len(statuses)) for each in statuses]


def judge_etcd(status: EtcdServerStatus, *, among: int) -> DoctorFinding:
    """Judge one server; of several, one that is away is no reason not to start."""
    if status.failure:
        says = f"{status.address}: {status.failure}"
        return findings.look("etcd", says) if among > 1 else findings.mend("etcd", says)
    line = re.match(r"(\d+)\.(\d+)\.(\d+)", status.version)
    if line is None:
        return findings.look("etcd", f"{status.address} says that it is version {status.version!r}")
    major, minor, release = map(int, line.groups())
    good = GOOD_ETCD.get((major, minor))
    if (major, minor) < min(GOOD_ETCD) or (good is not None and release < good):
        says = f"{status.address} is {status.version}, which can lose a write when it is killed"
        return findings.look("etcd", f"{says}: take 3.5.28, 3.6.9 or newer")
    return findings.ok("etcd", f"{status.address}, version {status.version}")


async def _check_redis(limits: settings.LimitsSettings) -> list[DoctorFinding]:
    link = redis_link.find_link(limits)
    if link is None:
        return [findings.ok("Redis", "none: each door counts requests alone")]
    if why := await link.find_failure(_REDIS_S):
        return [findings.look("Redis", f"{why}; until it answers each door counts requests alone")]
    return [findings.ok("Redis", "it answers")]


_ABOUT = """
    SELECT current_setting('server_version_num')::int AS version, current_user AS role,
           current_setting('server_encoding') AS encoding, clock_timestamp() AS now,
           current_setting('max_connections')::int AS connections,
           current_setting('synchronous_standby_names') AS standbys,
           current_setting('synchronous_commit') AS commit,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser
"""
