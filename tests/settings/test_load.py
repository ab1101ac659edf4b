"""Where a value comes from, and that a wrong one is named but never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from ccn import settings
from tests.settings.reading import read, refusal


def test_without_environment_and_file_every_value_is_a_default() -> None:
    reading = read({})
    assert reading.settings == settings.Settings()
    assert {reading.field_origin(*field) for field in settings.list_fields()} == {"default"}


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(folder: Path) -> None:
    (folder / "ccn.toml").write_text('[http]\nport = 8000\n[node]\nid = "from-file"\n')
    reading = read({"CCN_HTTP_PORT": "9000"})
    assert (reading.settings.http.port, reading.settings.node.id) == (9000, "from-file")
    assert reading.field_origin("http", "port") == "CCN_HTTP_PORT"
    assert reading.field_origin("node", "id") == "ccn.toml"
    assert reading.field_origin("http", "host") == "default"


def test_the_file_can_stand_elsewhere(folder: Path) -> None:
    file = folder / "some where.toml"
    file.write_text('[etcd]\nendpoints = ["a:1", "b:2"]\n')
    reading = read({"CCN_SETTINGS": str(file)})
    assert reading.settings.etcd.endpoints == ("a:1", "b:2")
    assert reading.field_origin("etcd", "endpoints") == str(file)


@pytest.mark.parametrize(
    ("group", "field", "value"),
    [
        ("client", "endpoint", '"http://127.0.0.1:6666"'),
        ("client", "api_key", '"hunter2"'),
        ("pg", "bin", '"/somewhere"'),
        ("etcd", "bin", '"/somewhere"'),
        ("etcd", "endpoints", '["hunter2:2379"]'),
        ("etcd", "ca", '"/somewhere"'),
        ("tls", "ca", '"/somewhere"'),
        ("node", "state_dir", '"/somewhere"'),
        ("scoring", "model", '"/somewhere"'),
        ("claude", "base_url", '"http://127.0.0.1:6666"'),
        ("claude", "api_key", '"hunter2"'),
        ("database", "url", '"postgresql://hunter2@a/b"'),
        ("database", "owner_url", '"postgresql://hunter2@a/b"'),
        ("limits", "redis_url", '"redis://hunter2@a"'),
        ("http", "cors_origins", '["https://hunter2"]'),
        ("http", "trusted_proxies", '["0.0.0.0/0"]'),
    ],
)
def test_a_working_folder_neither_runs_programs_nor_says_where_credentials_go(
    folder: Path, group: str, field: str, value: str
) -> None:
    """A cloned repository belongs to whoever cloned it, and was written by somebody else."""
    text = f"[{group}]\n{field} = {value}\n"
    (folder / "ccn.toml").write_text(text)
    complaint = refusal({})
    assert f"ccn.toml: [{group}] {field} is not taken from the working folder" in complaint
    assert "put it into the file of CCN_SETTINGS or ~/.config/ccn/ccn.toml" in complaint
    assert "hunter2" not in complaint
    assert read({"CCN_SETTINGS": "ccn.toml"}).field_origin(group, field) == "ccn.toml", "named is trusted"


def test_a_list_in_the_environment_is_separated_by_commas() -> None:
    assert read({"CCN_ETCD_ENDPOINTS": "a:1, b:2"}).settings.etcd.endpoints == ("a:1", "b:2")


def test_an_empty_variable_counts_as_unset() -> None:
    reading = read({"CCN_PG_BIN": "", "CCN_SETTINGS": "", "CCN_HTTP_PORT": ""})
    assert reading.settings == settings.Settings()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CCN_DATABSE_URL", "CCN_DATABASE_URL"),
        ("CCN_DATABASE_ULR", "CCN_DATABASE_URL"),
        ("CCN_DATABASE_POOLSIZE", "CCN_DATABASE_POOL_SIZE"),
        ("CCN_HTTP_COLOUR", "unknown setting CCN_HTTP_COLOUR"),
        ("CCN_LOGLEVEL", "CCN_LOG_LEVEL"),
        ("CCN_SETTING", "CCN_SETTINGS"),
    ],
)
def test_a_misspelt_variable_is_refused_by_name(name: str, meant: str) -> None:
    complaint = refusal({name: "hunter2"})
    assert name in complaint
    assert meant in complaint
    assert "hunter2" not in complaint


def test_a_variable_that_is_nobodys_setting_is_told_but_does_no_harm() -> None:
    assert read({"CCN_TEST_IMAGE": "x"}).ignored == ("CCN_TEST_IMAGE",)


@pytest.mark.parametrize(
    "name",
    [
        "CCN_SERVICE_HOST",
        "CCN_SERVICE_PORT_HTTP",
        "CCN_PORT_7700_TCP_ADDR",
        "CCN_NODE_PORT",
        "CCN_NODE_SERVICE_HOST",
    ],
)
def test_what_kubernetes_says_about_services_is_no_setting(name: str) -> None:
    assert read({name: "10.0.0.1"}).ignored == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[database]\npool = 3\n", "[database] pool"),
        ("[databse]\nurl = 'x'\n", "did you mean [database] url?"),
        ("port = 3\n", "port stands outside a [group]"),
        ("[http]\nport = 'x'\n", "ccn.toml: [http] port"),
        ("[http\n", "ccn.toml is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(folder: Path, text: str, named: str) -> None:
    (folder / "ccn.toml").write_text(text)
    assert named in refusal({})


def test_every_wrong_value_is_named_and_none_is_shown() -> None:
    complaint = refusal(
        {"CCN_HTTP_PORT": "hunter2", "CCN_DATABASE_POOL_SIZE": "0", "CCN_NODE_ID": "-hunter3-"}
    )
    assert {"CCN_HTTP_PORT", "CCN_DATABASE_POOL_SIZE", "CCN_NODE_ID"} <= {
        part.split(":")[0].strip() for part in complaint.split(";")
    }
    assert "hunter" not in complaint


def test_a_secret_may_stand_in_a_file(folder: Path) -> None:
    """Neither an environment nor a list of processes shows it then."""
    (folder / "key").write_text(" hunter2 \r\n")
    reading = read({"CCN_CLAUDE_API_KEY_FILE": str(folder / "key"), "CCN_CLAUDE_MODEL": "own"})
    assert reading.settings.claude.api_key.get_secret_value() == " hunter2 "
    assert reading.settings.claude.model == "own"
    assert reading.field_origin("claude", "api_key") == "CCN_CLAUDE_API_KEY_FILE"
    assert reading.ignored == ()


def test_every_secret_may_stand_in_a_file_and_nothing_else_may(folder: Path) -> None:
    (folder / "key").write_text("hunter2\n")
    for group, field in settings.list_fields():
        environ = {settings.file_variable_name(group, field): "key"}
        if settings.is_secret(group, field):
            assert getattr(getattr(read(environ).settings, group), field) == SecretStr("hunter2")
        else:
            assert f"unknown setting {settings.file_variable_name(group, field)}" in refusal(environ)
