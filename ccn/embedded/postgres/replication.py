"""What a server is told about other servers: whom it follows, and who follows it.

    primary    keeps some of its log for its standbys, and waits for one of them if it is synchronous
    standby    has the file `standby.signal` in its data, and fetches its primary's log

Separate because the same data may be started as either. A server that was promoted has removed the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ccn.embedded import folder, ports
from ccn.embedded.postgres.layout import DataLayout


@dataclass(frozen=True, slots=True)
class Upstream:
    """The server on this machine that a standby follows, and what it calls itself there."""

    port: int
    passfile: Path
    name: str

    def connection_text(self, **more: str) -> str:
        """Write how to connect, in the words of libpq."""
        values = {
            "host": ports.HOST,
            "port": str(self.port),
            "user": "ccn",
            "passfile": str(self.passfile),
            "application_name": self.name,
            "sslmode": "disable",
            "connect_timeout": "5",
            **more,
        }
        return " ".join(f"{name}={_quote_value(value)}" for name, value in values.items())


@dataclass(slots=True)
class ServerReplication:
    """The part of one server. It counts from the next start on, or from `reload_settings`."""

    follows: Upstream | None = None
    standbys: tuple[str, ...] = ()
    """The names of those who may follow it: it keeps some of its log for them."""
    synchronous: bool = False
    """Whether a commit waits until one of them has it on its disk."""

    def settings_text(self) -> str:
        """Write the lines of our settings file."""
        return "".join(f"{name} = {_quote_setting(value)}\n" for name, value in self._list_settings())

    def mark_data(self, where: DataLayout) -> None:
        """Before a start: let the data say that they are a standby's. Only a promotion takes that back."""
        mark = where.pgdata / "standby.signal"
        if self.follows is not None and not mark.exists():
            mark.touch(mode=0o600)
            give_file(mark, where)
            folder.sync_folder(where.pgdata)

    def _list_settings(self) -> Iterator[tuple[str, str]]:
        if self.follows is not None:
            yield "primary_conninfo", self.follows.connection_text()
            yield "wal_retrieve_retry_interval", "100ms"
        if self.follows is not None or self.standbys:
            # Without a slot: what a standby that is gone for ever would hold back could fill the disk.
            yield "wal_keep_size", "512MB"
            yield "hot_standby_feedback", "on"
            yield "wal_receiver_timeout", "10s"
            yield "wal_sender_timeout", "10s"
        if self.standbys and self.synchronous:
            names = ", ".join(f'"{name}"' for name in self.standbys)
            yield "synchronous_standby_names", f"ANY 1 ({names})"


def write_passfile(where: DataLayout, password: str) -> None:
    """Write down what PostgreSQL's programs log in with, for the account that they run as."""
    with folder.translate_refusals(where.home):
        folder.replace_file(where.passfile, f"{ports.HOST}:*:*:ccn:{password}\n", 0o600)
        give_file(where.passfile, where)


def give_file(file: Path, where: DataLayout) -> None:
    """Give a file to the account that the server runs as."""
    if where.account is not None:
        os.chown(file, where.account.uid, where.account.gid)


def _quote_value(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _quote_setting(text: str) -> str:
    # The file of settings knows escapes with backslashes, too.
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
