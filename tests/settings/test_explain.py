"""What people are told of a setting: what it means, and no secret."""

from __future__ import annotations

import re

import pytest
from pydantic import SecretStr

from ccn import settings


def test_what_a_working_folder_may_set_is_known_field_by_field() -> None:
    """Whoever adds a setting that looks like one of these decides about it here."""
    suspicious = re.compile(
        r"url|endpoint|origin|prox|bin|key$|ca$|certificate|password|dir|path|model|heads"
    )
    harmless = {("claude", "model"), ("cluster", "origin")}
    open_to_all = {place for place in settings.list_fields() if suspicious.search(place[1])} - harmless
    assert [each for each in open_to_all if not settings.is_refused_from_the_working_folder(*each)] == []


def test_every_field_has_a_sentence() -> None:
    for group, field in settings.list_fields():
        assert settings.field_sentence(group, field).endswith("."), (group, field)


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
