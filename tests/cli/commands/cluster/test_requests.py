"""`ccn request` as somebody types it, on a database with no node in sight."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
import uuid
from uuid import UUID

from ccn.store.connection.pool import Pool
from ccn.store.operators import requests
from tests.support.cli import commands
from tests.support.cli.about_database import Ccn


def ask(ccn: Ccn, command: str, **body: object) -> UUID:
    """A request that no node is there to answer."""
    request = uuid.uuid4()
    ccn.do(lambda pool: requests.add_request(pool, request, command, "ann", body))
    return request


def test_what_waits_is_listed_and_can_be_taken_back(ccn: Ccn) -> None:
    assert ccn("request", "list").stdout == "no request waits for an answer\n"
    request = ask(ccn, "redact", conversation="c", reason="asked by its owner")
    (line,) = ccn("request", "list").stdout.splitlines()
    assert line.partition(" UTC  ")[2].startswith(f"{request}  waiting")
    assert line.endswith("redact c asked by its owner, asked by ann")

    taken = ccn("request", "cancel", str(request), "--by", "bob", "--reason", "a slip")
    assert taken.returncode == 0, taken.stderr
    assert taken.stdout == "redact: taken back; the record will say so once a node seals it\n"
    (told,) = map(json.loads, ccn("request", "list", "--json").stdout.splitlines())
    assert (told["request"], told["state"], told["by"]) == (str(request), "taken back", "ann")
    assert told["body"] == {"conversation": "c", "reason": "asked by its owner"}


def test_what_cannot_be_taken_back_is_said_in_one_line(ccn: Ccn) -> None:
    nowhere = ccn("request", "cancel", str(uuid.uuid4()))
    assert nowhere.returncode == 1
    assert commands.complaint(nowhere).startswith("error: there is no request ")
    assert ccn("request", "cancel", "x").returncode == 2
    ccn("user", "add", "ada", "--by", "ann")
    (told,) = map(json.loads, ccn("request", "list", "--all", "--json").stdout.splitlines())
    assert (told["command"], told["by"], told["body"]["action"]) == ("account", "ann", "add user")
    refused = ccn("request", "cancel", told["request"])
    assert commands.complaint(refused) == (
        "error: a change of accounts is done when it is asked for: change it again instead"
    )


def test_whoever_gives_up_waiting_is_told_how_to_take_it_back(ccn: Ccn) -> None:
    with tempfile.TemporaryFile("w+") as said:
        streams = (said.fileno(), said.fileno(), said.fileno())
        waiting = commands.begin(("round", "force"), ccn.environ, streams, cwd=ccn.folder)
        until = time.monotonic() + 30
        while "asked; " not in _read(said.fileno()) and time.monotonic() < until:
            time.sleep(0.05)
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(20) == 130
        told = _read(said.fileno())
    request = json.loads(ccn("request", "list", "--json").stdout)["request"]
    assert f"the request stays; `ccn request cancel {request}` takes it back" in told


def _read(fd: int) -> str:
    return os.pread(fd, 10_000, 0).decode()


def test_nobody_writes_to_the_terminal_of_who_lists_requests(ccn: Ccn) -> None:
    reason = "\x1b[2J\x1b]0;owned\x07\nasked by nobody\u202e"

    async def ask(pool: Pool) -> None:
        body = {"conversation": "c", "reason": reason}
        await requests.add_request(pool, uuid.uuid4(), "redact", "ann\x1b[31m\r", body)

    ccn.do(ask)
    for form in ((), ("--json",)):
        told = ccn("request", "list", *form).stdout
        assert not {"\x1b", "\x07", "\r", "\u202e"} & set(told)
        assert told.count("\n") == 1
    assert json.loads(told)["body"]["reason"] == reason
