"""Settings: where a value comes from, and that a wrong one is named but never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from ccn import errors, settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and no variables of ours: nobody's settings get in."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CCN_")]:
        monkeypatch.delenv(name)
    return tmp_path


def read(environ: dict[str, str]) -> settings.Reading:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        return settings.here()


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(errors.SettingsInvalid) as refused:
        read(environ)
    return str(refused.value)


def test_without_environment_and_file_every_value_is_a_default() -> None:
    reading = read({})
    assert reading.settings == settings.Settings()
    assert {reading.origin(*field) for field in settings.fields()} == {"default"}


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(folder: Path) -> None:
    (folder / "ccn.toml").write_text('[http]\nport = 8000\n[node]\nid = "from-file"\n')
    reading = read({"CCN_HTTP_PORT": "9000"})
    assert (reading.settings.http.port, reading.settings.node.id) == (9000, "from-file")
    assert reading.origin("http", "port") == "CCN_HTTP_PORT"
    assert reading.origin("node", "id") == "ccn.toml"
    assert reading.origin("http", "host") == "default"


def test_the_file_can_stand_elsewhere(folder: Path) -> None:
    file = folder / "some where.toml"
    file.write_text('[etcd]\nendpoints = ["a:1", "b:2"]\n')
    reading = read({"CCN_SETTINGS": str(file)})
    assert reading.settings.etcd.endpoints == ("a:1", "b:2")
    assert reading.origin("etcd", "endpoints") == str(file)


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


def test_a_file_that_is_named_but_missing_is_refused() -> None:
    assert "nowhere.toml" in refusal({"CCN_SETTINGS": "nowhere.toml"})


def test_every_wrong_value_is_named_and_none_is_shown() -> None:
    complaint = refusal(
        {"CCN_HTTP_PORT": "hunter2", "CCN_DATABASE_POOL_SIZE": "0", "CCN_NODE_ID": "-hunter3-"}
    )
    assert {"CCN_HTTP_PORT", "CCN_DATABASE_POOL_SIZE", "CCN_NODE_ID"} <= {
        part.split(":")[0].strip() for part in complaint.split(";")
    }
    assert "hunter" not in complaint


def test_every_field_has_a_sentence() -> None:
    for group, field in settings.fields():
        assert settings.sentence(group, field).endswith("."), (group, field)


def test_groups_are_frozen() -> None:
    with pytest.raises(ValidationError):
        settings.Settings().http.port = 1


@pytest.mark.parametrize(
    ("secret", "seen"),
    [
        ("postgresql://ann:hunter2@db:5432/ccn", "postgresql://ann:********@db:5432/ccn"),
        ("postgresql://ann:hun@ter/2@db/ccn", "postgresql://ann:********@db/ccn"),
        ("postgresql://db/ccn?user=ann&password=hunter2", "postgresql://db/ccn?user=ann&password=********"),
        ("postgresql://db/ccn?sslpassword=hunter2#x", "postgresql://db/ccn?sslpassword=********#x"),
        ("postgresql://ann@db/ccn", "postgresql://ann@db/ccn"),
        ("hunter2", "********"),
        ("", ""),
    ],
)
def test_a_secret_is_masked_and_of_a_url_only_the_password(secret: str, seen: str) -> None:
    assert settings.shown(SecretStr(secret)) == seen
