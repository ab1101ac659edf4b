"""Which cluster a command is about: what is named, what the settings name, what runs here; it is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ccn import errors, settings
from ccn.cli.reach import target
from ccn.cli.reach.target import DatabaseTarget, HttpTarget
from ccn.continuity import local
from tests.support.cli import commands

HERE = "postgresql://ccn:hunter2@127.0.0.1:5433/ccn"
NAMED = "postgresql://ann:hunter3@db.example:5432/ccn?sslmode=verify-full"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which no cluster runs, and no variable names one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for name in ("CCN_DATABASE_URL", "CCN_CLIENT_ENDPOINT", "CCN_CLIENT_API_KEY", "CCN_SETTINGS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def running(home: Path) -> Path:
    """A cluster that happens to run here."""
    folder = local.default_folder()
    folder.mkdir()
    told = {
        "nodes": [{"http": "http://127.0.0.1:7700"}, {"http": "http://127.0.0.1:7702"}],
        "database_url": HERE,
        "admin": {"api_key": "ccn_local"},
        "data": str(folder),
    }
    (folder / local.RECORD).write_text(json.dumps(told))
    return folder


def test_a_database_of_the_settings_beats_a_cluster_that_happens_to_run_here(
    running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCN_DATABASE_URL", NAMED)
    assert target.find_database("", None, quiet=True) == DatabaseTarget(NAMED, "CCN_DATABASE_URL")
    assert target.find_cluster("", None, "", None, quiet=True) == DatabaseTarget(NAMED, "CCN_DATABASE_URL")
    assert target.find_database("", running, quiet=True).url == HERE
    assert target.find_database(HERE, None, quiet=True) == DatabaseTarget(HERE, "--database-url")


def test_without_settings_the_cluster_that_runs_here_is_meant(running: Path) -> None:
    assert target.find_database("", None, quiet=True).url == HERE
    doors = target.find_nodes("", None)
    assert doors.urls == ("http://127.0.0.1:7700", "http://127.0.0.1:7702")
    assert doors.api_key == "ccn_local"


def test_a_node_of_the_settings_is_asked_with_the_key_of_the_settings(
    running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCN_CLIENT_ENDPOINT", "https://ccn.example/")
    monkeypatch.setenv("CCN_CLIENT_API_KEY", "ccn_far")
    wanted = HttpTarget(("https://ccn.example",), "ccn_far", "CCN_CLIENT_ENDPOINT")
    assert target.find_cluster("", None, "", None, quiet=True) == wanted
    assert target.find_nodes("", None) == wanted
    with pytest.raises(
        errors.InputInvalid, match=r"CCN_CLIENT_ENDPOINT names the cluster at .*--database-url"
    ):
        target.find_database("", None, quiet=True)


def test_a_key_of_the_cluster_here_goes_to_no_other_place(running: Path) -> None:
    assert target.find_nodes("http://elsewhere.example:7700", None).api_key == ""


def test_a_key_comes_from_a_file(home: Path) -> None:
    (home / "key").write_text("ccn_kept\n")
    told = target.find_cluster("", None, "http://a:1", home / "key", quiet=True)
    assert told == HttpTarget(("http://a:1",), "ccn_kept", "--endpoint")
    with pytest.raises(errors.InputInvalid, match="nowhere cannot be read: No such file"):
        target.find_cluster("", None, "http://a:1", home / "nowhere", quiet=True)
    with pytest.raises(errors.InputInvalid, match="--api-key-file goes with --endpoint"):
        target.find_cluster(NAMED, None, "", home / "key", quiet=True)


def test_two_clusters_on_one_command_line_are_refused(running: Path) -> None:
    with pytest.raises(errors.InputInvalid, match="--endpoint and --data name a cluster each"):
        target.find_nodes("http://a:1", running)
    with pytest.raises(errors.InputInvalid, match="--database-url and --data name a cluster each"):
        target.find_database(NAMED, running, quiet=True)


def test_where_nothing_is_named_and_nothing_runs_every_way_is_told(home: Path) -> None:
    with pytest.raises(errors.NoCluster, match="no cluster runs here"):
        target.find_database("", None, quiet=True)


def test_a_command_says_whose_database_it_uses_and_no_password(
    running: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target.find_database("", None, quiet=False)
    assert capsys.readouterr().err == (
        f"using the database 127.0.0.1:5433/ccn (the cluster that runs here, in {running})\n"
    )
    monkeypatch.setenv("CCN_DATABASE_URL", NAMED)
    target.find_database("", None, quiet=False)
    assert capsys.readouterr().err == "using the database db.example:5432/ccn (CCN_DATABASE_URL)\n"
    target.find_cluster("", None, "https://ann:hunter4@node.example", None, quiet=False)
    assert capsys.readouterr().err == "using the node at node.example (--endpoint)\n"
    target.find_database("", None, quiet=True)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "url",
    [
        NAMED,
        "postgresql://db.example/ccn?user=ann&password=hunter3&sslmode=verify-full",
        "postgresql://ann:h@/ccn",
    ],
)
def test_a_password_among_the_arguments_is_warned_about_once_and_not_shown(
    home: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    for way in (target.find_database, target.find_owner):
        assert way(url, None, quiet=False).url == url
        warning, used = capsys.readouterr().err.splitlines()
        assert warning == (
            "warning: the password in --database-url is in the list of processes and in your shell's "
            "history; use CCN_DATABASE_URL or CCN_DATABASE_URL_FILE"
        )
        assert used.startswith("using the database ")
        assert "hunter" not in used
        way(url, None, quiet=True)
        assert capsys.readouterr().err == ""
    target.find_database("postgresql://ann@localhost/ccn", None, quiet=False)
    assert "warning" not in capsys.readouterr().err


def test_a_key_among_the_arguments_works_and_is_warned_about(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "key").write_text("ccn_kept\n")
    assert target.find_nodes("http://a:1", None, None, "ccn_said").api_key == "ccn_said"
    warning = capsys.readouterr().err
    assert warning.startswith("warning: the key in --api-key is in the list of processes")
    assert all(
        way in warning for way in ("--api-key-file", "CCN_CLIENT_API_KEY,", "CCN_CLIENT_API_KEY_FILE")
    )
    assert "ccn_said" not in warning
    target.find_nodes("http://a:1", None, None, "ccn_said", quiet=True)
    assert target.find_nodes("http://a:1", None, home / "key").api_key == "ccn_kept"
    assert capsys.readouterr().err == ""
    with pytest.raises(errors.InputInvalid, match="--api-key and --api-key-file name a key each"):
        target.find_nodes("http://a:1", None, home / "key", "ccn_said")


def test_a_node_and_its_key_may_be_named_by_a_file_that_a_variable_names(
    running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (running / "key").write_text("ccn_kept\n")
    monkeypatch.setenv("CCN_CLIENT_ENDPOINT", "https://ccn.example")
    monkeypatch.setenv("CCN_CLIENT_API_KEY_FILE", str(running / "key"))
    assert target.find_nodes("", None).api_key == "ccn_kept"
    (running / "url").write_text(f"{NAMED}\n")
    monkeypatch.setenv("CCN_DATABASE_URL_FILE", str(running / "url"))
    assert target.find_database("", None, quiet=True) == DatabaseTarget(NAMED, "CCN_DATABASE_URL_FILE")


def test_commands_use_the_database_of_the_settings_and_all_else_they_say_about_databases(
    running: Path, database: settings.DatabaseSettings
) -> None:
    """Behind a pooler the cache of statements has to be off, also for the accounts."""
    url = database.url.get_secret_value()
    environ = commands.environment(
        CCN_DATABASE_URL=url, CCN_DATABASE_CONNECT_TIMEOUT_S="0.000001", XDG_DATA_HOME=str(running.parent)
    )
    for command in (("user", "list"), ("key", "list"), ("plate", "list")):
        refused = commands.run(*command, cwd=running, env=environ)
        assert refused.returncode == 1, command
        assert "(CCN_DATABASE_URL)" in refused.stderr
    environ["CCN_DATABASE_CONNECT_TIMEOUT_S"] = "5"
    environ["CCN_DATABASE_STATEMENT_CACHE"] = "0"
    added = commands.run("user", "add", "ann", "--json", cwd=running, env=environ)
    assert added.returncode == 0, added.stderr
    assert (json.loads(added.stdout)["name"], added.stderr) == ("ann", "")
