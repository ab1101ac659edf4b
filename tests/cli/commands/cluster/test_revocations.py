"""`ccn keys revoke` and `ccn keys revoked` as somebody types them, on a database with no node in sight."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from ccn.core.ids import NodeId
from ccn.store.accounts import node_register
from ccn.store.operators import requests
from tests.support.cli import commands
from tests.support.cli.about_database import Ccn


def test_what_was_revoked_is_listed_the_oldest_first(ccn: Ccn) -> None:
    assert ccn("keys", "revoked").stdout == "no certificate was revoked\n"
    assert ccn.told_lines("keys", "revoked") == []
    assert ccn("keys", "revoke", "node-1", "--reason", "lost").stdout.startswith(
        "revoked every certificate of node-1"
    )
    assert (
        ccn("keys", "revoke", "0A:bc:01", "--reason", "sold").stdout == "revoked the certificate 0A:bc:01\n"
    )
    told = ccn.told_lines("keys", "revoked")
    assert [(each["node"], each["serial"]) for each in told] == [("node-1", None), (None, "0a:bc:01")]
    assert told[0]["at"] < told[1]["at"]
    lines = ccn("keys", "revoked").stdout.splitlines()
    assert [line.rpartition("  ")[2] for line in lines] == ["all of node-1 until then", "0a:bc:01"]


def test_a_certificate_that_is_made_as_soon_as_the_command_returns_counts(ccn: Ccn) -> None:
    """Certificates say since when in whole seconds, so the command waits for the next one."""
    told = ccn.told("keys", "revoke", "node-1", "--reason", "lost")
    since = datetime.fromtimestamp(int(time.time()), UTC)
    assert since > datetime.fromisoformat(told["at"])


def test_who_revoked_and_why_is_sealed(ccn: Ccn) -> None:
    ccn.told("keys", "revoke", "node-1", "--reason", "lost in a train", "--by", "ann")
    (asked,) = ccn.do(_waiting)
    assert (asked.by, asked.body["node"], asked.body["reason"]) == ("ann", "node-1", "lost in a train")


async def _waiting(pool: Any) -> Any:
    return await requests.list_waiting(pool, requests.ACCOUNT)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("node 1", "--reason", "lost"), "node"),
        (("xx:yy", "--reason", "lost"), "'xx:yy' is not a serial number in hexadecimal"),
        (("00:00", "--reason", "lost"), "'00:00' is not a serial number in hexadecimal"),
        (("node-1", "--reason", " "), "a revocation has a reason"),
        (("node-1", "--reason", "x" * 5_000), "a revocation has a reason, of at most"),
    ],
)
def test_what_cannot_be_revoked_is_one_line_and_nothing_is(
    ccn: Ccn, arguments: tuple[str, ...], said: str
) -> None:
    ended = ccn("keys", "revoke", *arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert said in commands.complaint(ended)
    assert ccn.do(node_register.list_revoked) == []


def test_a_reason_is_asked_for(ccn: Ccn) -> None:
    ended = ccn("keys", "revoke", NodeId("node-1"))
    assert ended.returncode == 2
    assert "--reason" in ended.stderr
