"""An embedded PostgreSQL in ordinary times."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from ccn import errors
from ccn.embedded import binaries, failures, folder, unprivileged_user
from ccn.embedded.postgres import server, service, sockets
from ccn.embedded.supervision import ChildEvent, ChildExited, ChildStarted
from tests.support import ports

Ask = Callable[[str, str], str]
CHEAP = "SCRAM-SHA-256$1:"
"""How the password is kept: one iteration, because nobody guesses what is random."""
GERMAN = "SELECT to_tsvector('german', 'ÄPFEL – Äpfel'), to_tsvector('russian', 'ПРИВЕТЫ привет')"


async def test_it_starts_keeps_what_it_is_told_and_stops(place: Path, ask: Ask) -> None:
    events: list[ChildEvent] = []
    data = place / "data"
    async with service.run_postgres(data, on_event=events.append) as first:
        ask(first.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert first.data == data
        assert events == [ChildStarted("postgres", first.pid)]
        assert first.url.split("@")[1] == f"127.0.0.1:{first.port}/ccn?sslmode=disable"
    assert isinstance(events[1], ChildExited)
    assert not psutil.pid_exists(first.pid)
    made = (data / "initdb.log").stat().st_mtime_ns
    async with service.run_postgres(data) as second:
        assert (data / "initdb.log").stat().st_mtime_ns == made, "what is there is not made anew"
        assert ask(second.url, "SELECT answer FROM kept") == "42"
        assert second.url.split("@")[0] == first.url.split("@")[0]


async def test_it_is_set_up_as_promised(data: Path, ask: Ask) -> None:
    async with service.run_postgres(data) as running:
        for name, expected in {
            "data_checksums": "on",
            "server_encoding": "UTF8",
            "listen_addresses": "127.0.0.1",
            "password_encryption": "scram-sha-256",
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous_commit": "on",
            "TimeZone": "UTC",
            "log_min_error_statement": "panic",
            "max_connections": "100",
        }.items():
            assert (name, ask(running.url, f"SHOW {name}")) == (name, expected)
        assert ask(running.url, "SELECT current_user, current_database()") == "ccn|ccn"


@pytest.mark.parametrize("major", [16, 18])
async def test_text_search_folds_every_script_and_sorting_is_that_of_c(
    place: Path, ask: Ask, major: int
) -> None:
    found = binaries.find_postgres(None, major)
    assert found.major == major
    async with service.run_postgres(place / "data", bin=found.bin, ephemeral=True) as running:
        assert running.version.startswith(f"{major}.")
        assert ask(running.url, GERMAN) == "'apfel':1,2|'привет':1,2"
        letters = "SELECT string_agg(x, '' ORDER BY x) FROM unnest(array['b','B','a','A','ä','Z','z']) x"
        assert ask(running.url, letters) == "ABZabzä"
        assert ask(running.url, "SELECT 'ÄRGER' ILIKE 'ärger', 'ÄRGER' ~* 'ärger'") == "t|t"


async def test_every_language_of_the_stemmer_works(data: Path, ask: Ask) -> None:
    languages = ("english", "german", "french", "spanish", "italian", "portuguese", "russian", "turkish")
    async with service.run_postgres(data, fsync=False) as running:
        for language in languages:
            assert ask(running.url, f"SELECT to_tsvector('{language}', 'Kontinuum') <> ''") == "t"


async def test_a_password_is_needed_and_only_its_owner_can_read_it(data: Path, ask: Ask) -> None:
    async with service.run_postgres(data) as running:
        password = running.url.split(":")[2].split("@")[0]
        kept = data / "password"
        assert kept.read_text().strip() == password
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert password not in repr(running)
        with pytest.raises(AssertionError, match="password authentication failed"):
            ask(running.url.replace(password, "guessed"), "SELECT 1")
        with pytest.raises(AssertionError, match="no password supplied"):
            ask(f"postgresql://ccn@/ccn?host={data / 'run'}&port={running.port}", "SELECT 1")
        assert ask(running.url, "SELECT rolpassword FROM pg_authid WHERE rolname = 'ccn'").startswith(CHEAP)


async def test_a_lost_password_is_replaced(data: Path, ask: Ask) -> None:
    before = (data / "password").read_text()
    (data / "password").unlink()
    async with service.run_postgres(data) as running:
        assert (data / "password").read_text() != before
        assert ask(running.url, "SELECT rolpassword FROM pg_authid WHERE rolname = 'ccn'").startswith(CHEAP)


@pytest.mark.parametrize("name", ["spaces, 'quotes' and \"more\"", "ünïcode-日本 " + "x" * 100])
async def test_any_folder_will_do(place: Path, ask: Ask, name: str) -> None:
    data = place / name / "data"
    async with service.run_postgres(data, fsync=False) as running:
        assert ask(running.url, "SELECT 1") == "1"
        place_of_socket = (data / "run").resolve() / f".s.PGSQL.{running.port}"
        assert place_of_socket.is_socket()
        assert len(os.fsencode(place_of_socket)) < sockets.PATH_LIMIT
        assert stat.S_IMODE(place_of_socket.parent.stat().st_mode) == 0o700
    assert place_of_socket.parent.is_relative_to(data.resolve()) or not place_of_socket.parent.exists()
    async with service.run_postgres(data, fsync=False) as running:
        assert ask(running.url, "SELECT 1") == "1"


async def test_an_ephemeral_run_leaves_nothing(place: Path) -> None:
    async with service.run_postgres(place / "data", ephemeral=True, fsync=False):
        assert (place / "data").is_dir()
    assert list(place.iterdir()) == []


async def test_an_ephemeral_run_touches_no_data_that_were_meant_to_stay(data: Path, ask: Ask) -> None:
    with pytest.raises(errors.DataDirectoryUnusable, match="meant to stay"):
        async with service.run_postgres(data, ephemeral=True):
            pytest.fail("it must not start")
    async with service.run_postgres(data, fsync=False) as running:
        assert ask(running.url, "SHOW fsync") == "off"


async def test_a_port_can_be_chosen_and_one_in_use_is_named(data: Path) -> None:
    with ports.reserve_port() as port:
        with ports.listen_on(port), pytest.raises(errors.PortTaken, match=f"(?s)another port.*{port}"):
            async with service.run_postgres(data, port=port, fsync=False):
                pytest.fail("the port was taken")
        async with service.run_postgres(data, port=port, fsync=False) as running:
            assert running.port == port


async def test_a_log_that_has_grown_is_put_aside_at_the_next_start(data: Path) -> None:
    log = data / "server.log"
    log.write_bytes(b"x" * (folder.LOG_LIMIT + 1))
    async with service.run_postgres(data, fsync=False):
        pass
    assert log.stat().st_size < 10_000
    assert log.with_name("server.log.1").stat().st_size == folder.LOG_LIMIT + 1


async def test_what_users_say_does_not_reach_the_log(data: Path, ask: Ask) -> None:
    async with service.run_postgres(data, fsync=False) as running:
        with pytest.raises(AssertionError, match="secret words"):
            ask(running.url, "SELECT 'secret words'::int")
    assert "secret words" not in (data / "server.log").read_text()


async def test_nobody_else_can_look_into_the_data(data: Path) -> None:
    async with service.run_postgres(data, fsync=False):
        pgdata = data / "pgdata"
        assert stat.S_IMODE(pgdata.stat().st_mode) == 0o700
        account = unprivileged_user.find_account()
        assert pgdata.stat().st_uid == (account.uid if account else os.geteuid())
        for private in ("password", "node.password", "server.log", "initdb.log", "lock"):
            assert stat.S_IMODE((data / private).stat().st_mode) == 0o600


async def test_alter_system_cannot_open_the_server_to_the_network(data: Path, ask: Ask) -> None:
    async with service.run_postgres(data, fsync=False) as running:
        ask(running.url, "ALTER SYSTEM SET listen_addresses = '*'")
        ask(running.url, "ALTER SYSTEM SET work_mem = '7MB'")
    async with service.run_postgres(data, fsync=False) as running:
        assert ask(running.url, "SHOW listen_addresses") == "127.0.0.1"
        assert ask(running.url, "SHOW work_mem") == "7MB"


def test_the_settings_say_who_wrote_them() -> None:
    assert server.settings_text(fsync=True).startswith("# Written by CCN")


def test_the_words_of_a_server_are_looked_up_in_one_table(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for said, kind in {
        'FATAL:  could not write lock file "postmaster.pid": No space left on device': errors.DiskFull,
        "FATAL:  could not write to file: Disk quota exceeded": errors.DiskFull,
        'could not resize shared memory segment "/P.1": No space left on device': errors.EmbeddedFailed,
        'could not bind IPv4 address "127.0.0.1": Address already in use': errors.PortTaken,
        "FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use": errors.AlreadyRunning,
        "FATAL:  database files are incompatible with server": errors.DataDirectoryUnusable,
        'FATAL:  data directory "/x" has wrong ownership': errors.DataDirectoryUnusable,
        "PANIC:  could not locate a valid checkpoint record at 0/1": errors.DataDirectoryUnusable,
        'FATAL:  configuration file "/x" contains errors': errors.DataDirectoryUnusable,
        "initdb: could not look up effective user ID 1234: user does not exist": errors.EmbeddedFailed,
        "FATAL:  something new": errors.EmbeddedFailed,
    }.items():
        log.write_text(f"before: No space left on device\n{said}\n")
        told = failures.explain_failure("it failed", log, since=len("before: No space left on device\n"))
        assert type(told) is kind, said
        assert said in str(told)
        assert str(log) in str(told)
        assert "before" not in str(told)


def test_of_many_words_the_last_are_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    told = str(failures.explain_failure("it failed", log))
    assert "line 9999" in told
    assert len(told.splitlines()) == failures.LINES + 2
