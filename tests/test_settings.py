"""Settings: where a value comes from, and that a wrong one is named but never shown."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from ccn import errors, settings
from ccn.settings import sources


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and no variables of ours: nobody's settings get in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in [name for name in os.environ if name.startswith("CCN_")]:
        monkeypatch.delenv(name)
    return tmp_path


def read(environ: dict[str, str]) -> settings.SettingsReading:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        return settings.load_with_origins()


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(errors.SettingsInvalid) as refused:
        read(environ)
    return str(refused.value)


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


def keep_at_home(folder: Path, text: str) -> Path:
    """What a user sets for all folders."""
    own = folder / "config" / "ccn" / "ccn.toml"
    own.parent.mkdir(parents=True)
    own.write_text(text)
    return own


def test_below_the_working_folder_stands_what_a_user_sets_for_all_folders(folder: Path) -> None:
    own = keep_at_home(folder, '[http]\nport = 8000\nhost = "::1"\n[client]\nendpoint = "https://a"\n')
    (folder / "ccn.toml").write_text("[http]\nport = 9000\n")
    reading = read({})
    assert (reading.settings.http.port, reading.settings.http.host) == (9000, "::1")
    assert reading.settings.client.endpoint == "https://a"
    assert reading.field_origin("http", "port") == "ccn.toml"
    assert reading.field_origin("client", "endpoint") == str(own)
    (folder / "named.toml").write_text("")
    assert read({"CCN_SETTINGS": "named.toml"}).settings.http.port == 7700, "a named file stands alone"


def test_the_working_folder_can_be_the_users_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = keep_at_home(folder, '[client]\nendpoint = "https://a"\n')
    monkeypatch.chdir(own.parent)
    assert read({}).field_origin("client", "endpoint") == str(own)


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


def test_what_a_working_folder_may_set_is_known_field_by_field() -> None:
    """Whoever adds a setting that looks like one of these decides about it here."""
    suspicious = re.compile(
        r"url|endpoint|origin|prox|bin|key$|ca$|certificate|password|dir|path|model|heads"
    )
    harmless = {("claude", "model"), ("cluster", "origin")}
    open_to_all = {place for place in settings.list_fields() if suspicious.search(place[1])} - harmless
    assert [each for each in open_to_all if not settings.is_refused_from_the_working_folder(*each)] == []


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_a_folder_in_which_others_may_write_sets_nothing(folder: Path, mode: int) -> None:
    (folder / "ccn.toml").write_text("[http]\nport = 9000\n")
    folder.chmod(mode)
    complaint = refusal({})
    assert f"ccn.toml is not read, since {folder} can be written by others: chmod go-w" in complaint
    assert "CCN_SETTINGS" in complaint
    assert read({"CCN_SETTINGS": "ccn.toml"}).settings.http.port == 9000, "named is trusted"


def test_a_file_that_others_may_write_sets_nothing_by_whatever_name(folder: Path) -> None:
    (folder / "open").mkdir()
    target = folder / "open" / "target.toml"
    target.write_text("[http]\nport = 9000\n")
    (folder / "ccn.toml").symlink_to(target)
    assert read({}).settings.http.port == 9000
    target.chmod(0o666)
    assert f"{target} can be written by others" in refusal({})
    target.chmod(0o644)
    target.parent.chmod(0o1777)
    assert f"{target.parent} can be written by others" in refusal({})


def test_only_oneself_and_root_are_believed() -> None:
    assert "belongs to another user" in sources.explain_doubt(1001, 0o100644, me=1000)
    assert "belongs to another user" in sources.explain_doubt(1001, 0o040755, me=0)
    assert (
        sources.explain_doubt(1000, 0o040755, me=1000) == sources.explain_doubt(0, 0o040755, me=1000) == ""
    )


def test_a_home_that_nobody_knows_is_no_file_of_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "~").mkdir()
    keep_at_home(folder / "~", "[http]\nport = 9000\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", "~/config")
    monkeypatch.setenv("HOME", "~")
    assert read({}).settings.http.port == 7700


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
    for group, field in settings.list_fields():
        assert settings.field_sentence(group, field).endswith("."), (group, field)


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
    assert settings.display_value(SecretStr(secret)) == seen


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


def test_a_secret_that_is_set_twice_or_cannot_be_read_is_refused_without_showing_it(folder: Path) -> None:
    (folder / "key").write_text("hunter2")
    twice = refusal({"CCN_DATABASE_URL": "hunter3", "CCN_DATABASE_URL_FILE": "key"})
    assert twice == "CCN_DATABASE_URL and CCN_DATABASE_URL_FILE are both set: keep one of them"
    assert "CCN_DATABASE_URL_FILE names nowhere, which cannot be read: No such file" in refusal(
        {"CCN_DATABASE_URL_FILE": "nowhere"}
    )
    assert "cannot be read: Is a directory" in refusal({"CCN_DATABASE_URL_FILE": "."})
    for content, why in (
        (b"\n", "is empty"),
        (b"hunter2\xff", "is no text"),
        (b"x" * 70_000, "is too long"),
    ):
        (folder / "key").write_bytes(content)
        complaint = refusal({"CCN_DATABASE_URL_FILE": "key"})
        assert f"CCN_DATABASE_URL_FILE names key, which {why}" in complaint
        assert "hunter" not in complaint


def test_what_a_child_gets_in_place_of_a_secret_takes_the_place_of_its_file_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CCN_DATABASE_URL_FILE", "key")
    monkeypatch.setenv("CCN_CLAUDE_API_KEY_FILE", "key")
    child = settings.child_environment({"CCN_DATABASE_URL": "postgresql://a/b"})
    assert "CCN_DATABASE_URL_FILE" not in child
    assert child["CCN_CLAUDE_API_KEY_FILE"] == "key"
