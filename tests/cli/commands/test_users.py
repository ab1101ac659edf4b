"""`ccn user` as somebody types them, and the first admin of a local cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ccn import errors, settings
from ccn.cli.cluster import first_admin
from ccn.cli.cluster.data_folder import AdminAt, ClusterAt
from ccn.store.accounts import api_keys, users
from ccn.store.accounts.users import Tier
from ccn.store.connection import pool
from tests.support.cli import commands
from tests.support.cli.about_database import Ccn


def test_a_user_comes_in_is_banned_comes_back_and_changes_its_password(ccn: Ccn) -> None:
    added = ccn("user", "add", "Ada")
    lines = added.stdout.splitlines()
    assert (added.returncode, lines[0].split()) == (0, ["Ada", "user", "enabled"])
    password = lines[1].removeprefix("password  ")
    assert "shown this once" in added.stderr
    ccn.accounts("sign_in", "ada", password)
    assert "disabled since" in ccn("user", "disable", "ada").stdout
    with pytest.raises(errors.SignInRefused):
        ccn.accounts("sign_in", "ada", password)
    assert ccn.told("user", "enable", "ADA")["disabled_at"] is None
    ccn.accounts("sign_in", "ada", password)
    changed = ccn("user", "password", "ada", "--password-stdin", given="correct horse battery\n")
    assert (changed.returncode, "password" in changed.stdout) == (0, False)
    ccn.accounts("sign_in", "ada", "correct horse battery")
    listed = ccn("user", "list")
    assert listed.stdout.split() == ["Ada", "user", "enabled"]
    assert password not in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("user", "add", "ada", "--tier", "god"), "a tier is public, user, admin"),
        (("user", "add", "ada", "--password-stdin"), "a password has 10 to 1024 characters"),
        (("user", "add", " "), "printable characters"),
        (("user", "disable", "nobody"), "there is no user 'nobody'"),
        (("user", "password", "nobody"), "there is no user 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_one_line(ccn: Ccn, arguments: tuple[str, ...], said: str) -> None:
    ended = ccn(*arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert commands.complaint(ended).startswith("error: ")
    assert said in commands.complaint(ended)


def test_a_name_that_is_taken_is_refused(ccn: Ccn) -> None:
    ccn.told("user", "add", "ada")
    assert "there is a user 'ADA' already" in ccn("user", "add", "ADA").stderr


async def test_the_first_start_makes_an_admin_and_later_ones_know_its_key(
    database: settings.DatabaseSettings, tmp_path: Path
) -> None:
    url, kept = database.url.get_secret_value(), tmp_path / "admin.key"
    made = await first_admin.ensure_admin(url, kept)
    again = await first_admin.ensure_admin(url, kept)
    assert made is not None
    assert made.password
    assert again == AdminAt(made.user, made.api_key)
    assert (kept.read_text().strip(), kept.stat().st_mode & 0o777) == (made.api_key, 0o600)
    async with pool.open(database, "test") as connections:
        (user,) = await users.list_users(connections)
        assert (user.name, user.tier) == ("admin", Tier.ADMIN)
        (key,) = await api_keys.list_keys(connections)
        await api_keys.revoke_key(connections, key.prefix)
        another = await first_admin.ensure_admin(url, kept)
        assert another is not None
        assert another.api_key not in {"", made.api_key}
        await users.disable_user(connections, "admin")
        assert await first_admin.ensure_admin(url, kept) is None


async def test_a_cluster_that_has_other_users_gets_no_admin_of_ours(
    database: settings.DatabaseSettings, tmp_path: Path
) -> None:
    async with pool.open(database, "test") as connections:
        made = await first_admin.ensure_admin(database.url.get_secret_value(), tmp_path / "admin.key")
        assert made is not None
        await connections.rows("UPDATE users SET name = 'root'")
    assert await first_admin.ensure_admin(database.url.get_secret_value(), tmp_path / "admin.key") is None


def test_a_password_is_told_once_and_kept_in_no_record() -> None:
    at = ClusterAt((), "", (), AdminAt("admin", "ccn_x", "hunter2"))
    assert json.loads(at.as_json())["admin"] == {"user": "admin", "api_key": "ccn_x", "password": "hunter2"}
    assert json.loads(at.without_password().as_json())["admin"] == {"user": "admin", "api_key": "ccn_x"}
    assert "hunter2" not in repr(at)
    assert json.loads(ClusterAt((), "", ()).as_json())["admin"] is None
