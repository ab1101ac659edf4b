"""The settings of the model: prices that add to those we know, and no key in sight."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccn import errors, settings
from ccn.core.calls.price import Price

OWN = '{"claude-own": {"input": 1, "output": "2.5", "cache_write": 1, "cache_read": 0.1}}'


def test_prices_from_the_environment_add_to_those_we_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCN_CLAUDE_PRICES", OWN)
    prices = settings.load().claude.prices
    assert prices["claude-own"].to_microdollars() == Price(1_000_000, 2_500_000, 1_000_000, 100_000)
    assert prices["claude-sonnet-5-5"] == settings.PRICES["claude-sonnet-5-5"]


def test_prices_from_the_file_are_tables(folder: Path) -> None:
    text = """
        [claude.prices."claude-sonnet-5-5"]
        input = 4
        output = 8.5
        cache_write = 5
        cache_read = 0.4
        long_above = 1000
        long_factor = 2
    """
    (folder / "ccn.toml").write_text(text)
    expected = Price(4_000_000, 8_500_000, 5_000_000, 400_000, long_above=1000, long_percent=200)
    assert settings.load().claude.prices["claude-sonnet-5-5"].to_microdollars() == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CCN_CLAUDE_PRICES", "{"),
        ("CCN_CLAUDE_PRICES", "[]"),
        ("CCN_CLAUDE_PRICES", '{"x": {"input": -1}}'),
        ("CCN_CLAUDE_TIME_ZONE", "Mars/Olympus"),
        ("CCN_CLAUDE_TIME_ZONE", "../etc/passwd"),
        ("CCN_CLAUDE_BASE_URL", "api.anthropic.com"),
        ("CCN_CLAUDE_DAILY_BUDGET_DOLLARS", "-1"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(errors.SettingsInvalid, match=name):
        settings.load()


def test_people_see_which_models_have_a_price_and_never_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCN_CLAUDE_API_KEY", "hunter2")
    reading = settings.load_with_origins()
    assert "claude-sonnet-5-5" in reading.display_field("claude", "prices")
    assert reading.display_field("claude", "api_key") == "********"
    assert "hunter2" not in repr(reading.settings)


def test_a_limit_may_be_a_fraction_of_a_cent_and_nothing_is_no_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert settings.load().claude.daily_budget_dollars is None
    monkeypatch.setenv("CCN_CLAUDE_DAILY_BUDGET_DOLLARS", "0.0005")
    assert str(settings.load().claude.daily_budget_dollars) == "0.0005"
