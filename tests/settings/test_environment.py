"""What a child process finds in its environment."""

from __future__ import annotations

import pytest

from ccn.settings import environment


def test_what_a_child_gets_in_place_of_a_secret_takes_the_place_of_its_file_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CCN_DATABASE_URL_FILE", "key")
    monkeypatch.setenv("CCN_CLAUDE_API_KEY_FILE", "key")
    child = environment.child_environment({"CCN_DATABASE_URL": "postgresql://a/b"})
    assert "CCN_DATABASE_URL_FILE" not in child
    assert child["CCN_CLAUDE_API_KEY_FILE"] == "key"
