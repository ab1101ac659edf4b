"""Several hosts in one database URL: which to try, in which order, how long each, and which will do.

    postgresql://user@a:5432,b:5433/db           postgresql://user@/db?host=a,b&port=5432,5433
    …&target_session_attrs=read-write            what a node needs, and what is taken if nothing is said

Separate from the pool because asyncpg tries hosts in turn within one time, which a silent first host uses
up. Here each host has its share of the time, and the one that served last comes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from ccn import errors
from ccn.store.connection import failure
from ccn.store.encryption import link as links
from ccn.store.encryption import parameters

if TYPE_CHECKING:
    from ccn import settings

    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

Accept = Callable[[Connection], Awaitable[str]]
"""Looks at a new connection, and says why it will not do; empty if it will."""

READ_WRITE = "read-write"
_PORT = 5432
_MOST = 16
_SCHEMES = ("postgresql", "postgres")
_CLOSE_S = 1.0


@dataclass(frozen=True, slots=True)
class DatabaseHost:
    """Where one server listens: a name, an address, or the folder of its socket."""

    host: str
    port: int

    def __str__(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{name}:{self.port}"


@dataclass(slots=True)
class DatabaseHosts:
    """The hosts of one URL, and which of them served last, for all who connect in this process."""

    url: str = field(repr=False)
    hosts: tuple[DatabaseHost, ...]
    wanted: str
    last_good: DatabaseHost | None = None

    def list_in_order(self) -> list[DatabaseHost]:
        """The one that served last, then the others as they are written."""
        return sorted(self.hosts, key=lambda host: host != self.last_good)


@dataclass(frozen=True, slots=True)
class _ConnectionWish:
    """What is asked of whichever host answers; the options are asyncpg's."""

    hosts: DatabaseHosts
    accept: Accept | None
    options: dict[str, Any] = field(repr=False)


async def connect(url: str, *, timeout: float, accept: Accept | None = None, **options: Any) -> Connection:
    """Connect to the first host that will do, within the time; the options are asyncpg's.

    `accept` looks at what answers, and says why it will not do. If none will, the error names each host and
    what it said. It is one that `failure` translates.
    """
    wish = _ConnectionWish(read_hosts(url), accept, options)
    if len(wish.hosts.hosts) > 1:
        return await _walk_hosts(wish, timeout)
    only = wish.hosts.hosts[0] if wish.hosts.hosts else None  # asyncpg knows where a server here listens
    return await _connect_fitting(wish, only, next(_list_passes(wish.hosts.wanted)), timeout)


def prepare_url(url: str, database: settings.DatabaseSettings) -> str:
    """Return the URL with the files of its TLS that the settings name, if it may be used at all."""
    whole = parameters.complete_url(url, database)
    if whole and not database.insecure:
        parameters.refuse_plain_way(whole, [host.host for host in read_hosts(whole).hosts])
    return whole


async def connect_for_pool(*url: Any, **options: Any) -> Connection:
    """Connect as a pool of asyncpg's wants it."""
    return await connect(*url, **options)


async def _walk_hosts(wish: _ConnectionWish, timeout_s: float) -> Connection:
    said: dict[DatabaseHost, str] = {}
    until = asyncio.get_running_loop().time() + timeout_s
    hosts = wish.hosts
    for wanted in _list_passes(hosts.wanted):
        order = hosts.list_in_order()
        for nth, host in enumerate(order):
            # What an earlier host did not use is left for those that come later.
            share_s = (until - asyncio.get_running_loop().time()) / (len(order) - nth)
            try:
                connection = await _connect_fitting(wish, host, wanted, max(share_s, 0.001))
            except failure.FOREIGN as foreign:
                said[host] = failure.describe_error(foreign).removeprefix(f"{host} ")
            else:
                hosts.last_good = host
                return connection
    each = "; ".join(f"{host}: {said[host]}" for host in hosts.hosts)
    raise ConnectionError(f"no host of the database serves {hosts.wanted} connections. {each}")


async def _connect_fitting(
    wish: _ConnectionWish, host: DatabaseHost | None, wanted: str, timeout_s: float
) -> Connection:
    """Connect to this one, unless it is not what is wanted."""
    where: dict[str, Any] = {"host": host.host, "port": host.port} if host is not None else {}
    async with asyncio.timeout(timeout_s):
        connection = await _connect_encrypted(
            wish.hosts.url, host, {**where, **wish.options, "timeout": timeout_s}
        )
        try:
            unfit = await _find_unfitness(connection, wanted)
            if not unfit and wish.accept is not None:
                unfit = await wish.accept(connection)
        except BaseException:
            connection.terminate()
            raise
    if unfit:
        with suppress(*failure.FOREIGN):
            await connection.close(timeout=_CLOSE_S)
        raise ConnectionError(f"{host or 'the server'} {unfit}")
    return connection


async def _connect_encrypted(url: str, host: DatabaseHost | None, options: dict[str, Any]) -> Connection:
    """Connect with TLS where the URL asks for it; what TLS has against it is said in words."""
    link = links.find_link(url)
    if link is not None:
        options["ssl"] = link.context
    try:
        return await asyncpg.connect(url, **options, target_session_attrs=SessionAttribute.any)
    except (TimeoutError, ConnectionRefusedError):
        raise
    except (OSError, asyncpg.ConnectionDoesNotExistError) as failed:
        explained = await links.explain_failure(link, host.host, host.port) if link and host else ""
        if not explained:
            raise
        raise ConnectionError(explained) from failed


async def _find_unfitness(connection: Connection, wanted: str) -> str:
    """Why this server is not what is wanted; empty if it is."""
    if wanted == "any":
        return ""
    told = connection.get_settings()
    # Servers say both at the beginning; poolers may not pass it on.
    standby, read_only = (
        getattr(told, "in_hot_standby", None),
        getattr(told, "default_transaction_read_only", None),
    )
    if standby is None or read_only is None:
        row = await connection.fetchrow(_ROLE)
        standby, read_only = row["standby"], row["read_only"]  # type: ignore[index] # one row, always
    if wanted in {"standby", "prefer-standby"}:
        return "" if standby == "on" else "is no standby"
    if wanted == "read-only":
        return "" if "on" in {standby, read_only} else "takes writes"
    if standby == "on":
        return "is a standby, which takes no writes"
    if wanted == READ_WRITE and read_only == "on":
        return "takes no writes: default_transaction_read_only is on"
    return ""


def _list_passes(wanted: str) -> Iterator[str]:
    yield wanted
    if wanted == "prefer-standby":
        yield "any"


@cache
def read_hosts(url: str) -> DatabaseHosts:
    """Take a URL apart. `SettingsInvalid` says what is wrong with it, without its password."""
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as unreadable:
        raise _refuse_url(f"it cannot be read: {unreadable}") from None
    if parts.scheme not in _SCHEMES:
        raise _refuse_url("it does not begin with postgresql://")
    wanted = query.get("target_session_attrs", [READ_WRITE])[-1]
    if wanted not in _WANTED:
        raise _refuse_url(f"target_session_attrs is none of {', '.join(_WANTED)}: {wanted}")
    named = parts.netloc.rpartition("@")[2] or query.get("host", [""])[-1]
    hosts = tuple(_list_hosts(named, query.get("port", [""])[-1]))
    if len(hosts) > _MOST:
        raise _refuse_url(f"it names {len(hosts)} hosts, and {_MOST} are the most")
    return DatabaseHosts(url, hosts, wanted)


def _list_hosts(named: str, ports: str) -> Iterator[DatabaseHost]:
    if not named:
        return
    names, given = named.split(","), ports.split(",") if ports else []
    if len(given) > 1 and len(given) != len(names):
        raise _refuse_url(f"it names {len(names)} hosts and {len(given)} ports")
    for nth, name in enumerate(names):
        default = given[nth if len(given) > 1 else 0] if given else str(_PORT)
        host, port = _split_port(unquote(name))
        if not host:
            raise _refuse_url(f"host {nth + 1} of {len(names)} is empty")
        yield DatabaseHost(host, _read_port(port or default))


def _split_port(name: str) -> tuple[str, str]:
    if name.startswith("["):
        host, bracket, rest = name[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _refuse_url(f"{name} is no address")
        return host, rest[1:]
    if name.startswith("/"):
        return name, ""
    host, _, port = name.partition(":")
    return host, port


def _read_port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65_536:
        raise _refuse_url(f"{text} is no port")
    return int(text)


def _refuse_url(why: str) -> errors.SettingsInvalid:
    return errors.SettingsInvalid(
        f"the URL of the database cannot be used: {why}. "
        "It looks like postgresql://user:password@host:5432/name, with several hosts as host:port,host:port"
    )


_WANTED = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
_ROLE = """
    SELECT CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END AS standby,
           current_setting('default_transaction_read_only') AS read_only
"""
