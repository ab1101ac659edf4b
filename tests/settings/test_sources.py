"""Which files are read, and that nobody else decides what is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccn.settings import sources
from tests.settings.reading import read, refusal


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


def test_a_file_that_is_named_but_missing_is_refused() -> None:
    assert "nowhere.toml" in refusal({"CCN_SETTINGS": "nowhere.toml"})


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
