"""Moments are shown in UTC, wherever they were told and wherever the command runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ccn.cli.output import timestamps


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command runs far from Greenwich."""
    monkeypatch.setenv("TZ", "ACST-09:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_moment_is_shown_in_utc_to_the_second() -> None:
    west = timezone(timedelta(hours=-5))
    assert timestamps.format_moment(datetime(2026, 12, 31, 23, 59, 59, 999_999, west)) == (
        "2027-01-01 04:59:59 UTC"
    )
    assert timestamps.format_moment(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02 00:00:00 UTC"


@pytest.mark.parametrize(
    "told",
    [
        "2026-11-30T10:11:12Z",
        "2026-11-30T10:11:12.5+00:00",
        "2026-11-30 10:11:12+00",
        "2026-11-30T15:41:12+05:30",
        "2026-11-29T22:11:12-12:00",
    ],
)
def test_a_moment_in_text_is_shown_alike_in_whichever_zone_it_was_told(told: str) -> None:
    assert timestamps.format_iso_moment(told) == "2026-11-30 10:11:12 UTC"


@pytest.mark.parametrize("told", ["", "yesterday", "2026-13-01T00:00:00Z"])
def test_what_is_no_moment_is_refused(told: str) -> None:
    with pytest.raises(ValueError, match=r"month|format"):
        timestamps.format_iso_moment(told)
