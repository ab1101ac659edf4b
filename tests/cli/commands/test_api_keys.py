"""`ccn key` as somebody types it: API keys, and the keys that sign access tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from ccn import errors
from ccn.gateway.accounts.access import Caller
from ccn.store.accounts.users import Tier
from tests.support.cli import commands
from tests.support.cli.about_database import Ccn


def test_a_key_is_issued_once_listed_by_its_prefix_and_revoked(ccn: Ccn) -> None:
    ccn.told("user", "add", "boss", "--tier", "admin")
    issued = ccn("key", "issue", "boss", "--tier", "user", "--name", "billing", "--days", "3")
    key = issued.stdout.strip()
    assert issued.returncode == 0
    assert key.startswith("ccn_")
    found = ccn.accounts("identify_caller", key)
    assert isinstance(found, Caller)
    assert (found.name, found.tier) == ("boss", Tier.USER)
    (line,) = ccn("key", "list").stdout.splitlines()
    assert line.split()[:4] == [key[:12], "boss", "user", "until"]
    assert key not in line
    assert ccn("key", "revoke", key[:12]).stdout == f"revoked {key[:12]} of boss\n"
    with pytest.raises(errors.CredentialInvalid):
        ccn.accounts("identify_caller", key)
    assert json.loads(ccn("key", "list", "--user", "boss", "--json").stdout)["state"].startswith("revoked")


def test_a_key_does_no_more_than_its_user(ccn: Ccn) -> None:
    ccn.told("user", "add", "ada")
    key = ccn.told("key", "issue", "ada", "--tier", "admin")["api_key"]
    found = ccn.accounts("identify_caller", key)
    assert isinstance(found, Caller)
    assert found.tier is Tier.USER


def test_the_key_that_signs_tokens_is_rotated_gently_or_at_once(ccn: Ccn) -> None:
    password = ccn.told("user", "add", "ada")["password"]
    token = ccn.accounts("sign_in", "ada", password).access_token  # type: ignore[attr-defined]
    assert ccn("key", "rotate").returncode == 0
    ccn.accounts("identify_caller", token)
    assert ccn("key", "rotate", "--now").returncode == 0
    with pytest.raises(errors.CredentialInvalid):
        ccn.accounts("identify_caller", token)


def test_a_node_signs_no_more_after_its_own_keys_were_rotated_and_the_others_do(ccn: Ccn) -> None:
    password = ccn.told("user", "add", "ada")["password"]
    token = ccn.accounts("sign_in", "ada", password).access_token  # type: ignore[attr-defined]
    assert ccn.told("key", "rotate", "--now", "--node", "node-9") == {"ended": []}
    ccn.accounts("identify_caller", token)
    (ended,) = ccn.told("key", "rotate", "--now")["ended"]
    assert ended["node"] != "node-9"
    assert ccn("key", "rotate").stdout.startswith("no key was in use")


def test_nobody_reads_that_there_is_no_key_in_json(ccn: Ccn) -> None:
    assert ccn("key", "list").stdout == "there is no API key: `ccn key issue USER` makes one\n"
    assert ccn.told_lines("key", "list") == []


def test_all_that_json_tells_of_a_key_is_no_secret(ccn: Ccn) -> None:
    ccn.told("user", "add", "ada")
    issued = ccn.told("key", "issue", "ada", "--name", "billing", "--days", "3")
    (told,) = ccn.told_lines("key", "list")
    assert set(told) == {
        "id", "prefix", "user", "name", "tier", "created_at", "expires_at", "revoked_at", "state",
    }  # fmt: skip
    assert issued["api_key"] not in json.dumps(told)
    assert told["prefix"] == issued["prefix"] == issued["api_key"][: len(issued["prefix"])]
    assert UUID(told["id"])
    ends = datetime.fromisoformat(told["expires_at"])
    assert timedelta(days=2, hours=23) < ends - datetime.now(UTC) <= timedelta(days=3)
    assert told["state"] == f"until {ends.astimezone(UTC):%Y-%m-%d}"


def test_a_key_can_be_revoked_by_its_id_and_once_more_without_harm(ccn: Ccn) -> None:
    ccn.told("user", "add", "ada")
    ccn.told("key", "issue", "ada")
    (told,) = ccn.told_lines("key", "list")
    for _ in range(2):
        assert ccn.told("key", "revoke", told["id"]) == {"prefix": told["prefix"], "user": "ada"}
    assert len(ccn.told_lines("key", "list")) == 1


def test_a_list_says_why_a_key_is_no_good(ccn: Ccn) -> None:
    for name in ("ada", "bob"):
        ccn.told("user", "add", name)
        ccn.told("key", "issue", name)
    ccn.do(lambda pool: pool.rows(_ENDED))
    assert ccn("user", "disable", "bob").returncode == 0
    states = {told["user"]: told["state"] for told in ccn.told_lines("key", "list")}
    assert states == {"ada": "expired", "bob": "its user is disabled"}


def test_who_lists_keys_gets_one_line_a_key_whatever_somebody_called_it(ccn: Ccn) -> None:
    ccn.told("user", "add", "ada")
    ccn("key", "issue", "ada", "--name", "one\ntwo\x1b[2J")
    ccn("key", "issue", "ada", "--name", "billing")
    lines = ccn("key", "list").stdout.splitlines()
    assert [line for line in lines if "ada" not in line] == []
    assert not re.search(r"[\x00-\x1f]", "".join(lines))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("issue", "nobody"), "there is no user 'nobody'"),
        (("issue", "nobody", "--tier", "god"), "a tier is public, user, admin"),
        (("revoke", "ccn_nothing"), "no key has the prefix or id"),
        (("list", "--user", "nobody"), "there is no user 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_one_line(ccn: Ccn, arguments: Sequence[str], said: str) -> None:
    ended = ccn("key", *arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert said in commands.complaint(ended)


@pytest.mark.parametrize("days", ["0", "-1", "3651", "soon"])
def test_days_that_no_key_lasts_are_refused(ccn: Ccn, days: str) -> None:
    ended = ccn("key", "issue", "ada", "--days", days)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--days" in ended.stderr


_ENDED = """
    UPDATE api_keys
    SET created_at = clock_timestamp() - interval '2 days',
        expires_at = clock_timestamp() - interval '1 day'
    WHERE user_id = (SELECT id FROM users WHERE name = 'ada')
"""
