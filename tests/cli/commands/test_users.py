"""`ccn user` and `ccn key` as somebody types them, and the first admin of a local cluster."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from ccn import errors, settings
from ccn.cli.cluster import first_admin
from ccn.cli.cluster.data_folder import AdminAt, ClusterAt
from ccn.gateway.accounts.access import Caller
from ccn.gateway.accounts.passwords import Passwords
from ccn.store.accounts import api_keys, users
from ccn.store.accounts.users import Tier
from ccn.store.connection import pool
from tests.support.cli import commands
from tests.support.gateway import access_tokens


class Ccn:
    """The command, about one database."""

    def __init__(self, folder: Path, database: settings.DatabaseSettings) -> None:
        self._folder, self.database = folder, database

    def __call__(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        url = self.database.url.get_secret_value()
        environ = commands.environment(CCN_DATABASE_URL=url, HOME=str(self._folder))
        return commands.run(*arguments, given=given, cwd=self._folder, env=environ)

    def told(self, *arguments: str) -> dict[str, str]:
        ended = self(*arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        found: dict[str, str] = json.loads(ended.stdout)
        return found

    def accounts(self, ask: str, *values: str) -> object:
        """What a node of this cluster would say."""

        async def asked() -> object:
            matching = Passwords()
            async with pool.open(self.database, "test") as connections:
                node = access_tokens.accounts(connections, matching)
                answer = await getattr(node, ask)(*values)
            matching.close()
            return answer

        return asyncio.run(asked())


@pytest.fixture
def ccn(tmp_path: Path, database: settings.DatabaseSettings) -> Ccn:
    return Ccn(tmp_path, database)


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("user", "add", "ada", "--tier", "god"), "a tier is public, user, admin"),
        (("user", "add", "ada", "--password-stdin"), "a password has 10 to 1024 characters"),
        (("user", "add", " "), "printable characters"),
        (("user", "disable", "nobody"), "there is no user 'nobody'"),
        (("user", "password", "nobody"), "there is no user 'nobody'"),
        (("key", "issue", "nobody"), "there is no user 'nobody'"),
        (("key", "revoke", "ccn_nothing"), "no key has the prefix or id"),
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
