"""The group of settings about the model: where it is asked, how long, and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from ccn.settings.fields import Dollars, Seconds, SettingsGroup
from ccn.settings.prices import PRICES, DollarPrice

BUDGET = "CCN_CLAUDE_DAILY_BUDGET_DOLLARS"
"""What an operator is told to set who has set no budget."""


class ClaudeSettings(SettingsGroup):
    """The model that speaks for every character, and what it may cost."""

    api_key: SecretStr = Field(
        default=SecretStr(""), description="The key of the Anthropic API; the stand-in takes any."
    )
    base_url: str = Field(
        default="https://api.anthropic.com",
        pattern=r"^https?://[^\s]+$",
        description="Where the Messages API is; the address of a stand-in to work offline.",
    )
    stand_in: bool = Field(
        default=False,
        description="Whether base_url is a stand-in, which people who talk to it are told; set by ccn up.",
    )
    stand_in_words_s: float = Field(
        default=12.0,
        ge=0,
        le=1_000,
        description="Words a second of the stand-in of ccn up, as fast as one reads; 0 for no pause.",
    )
    model: str = Field(
        default="claude-sonnet-5-5",
        min_length=1,
        max_length=200,
        description="The model of characters whose plate names none.",
    )
    max_tokens: int = Field(
        default=4_096, ge=1, le=128_000, description="Tokens that one reply may have at most."
    )
    timeout_s: Seconds = Field(
        default=30.0,
        description="How long one try may wait for an answer to begin, and then for each next part of it.",
    )
    reply_limit_s: Seconds = Field(default=600.0, description="How long one try may take altogether.")
    prices: Annotated[Mapping[str, DollarPrice], NoDecode] = Field(
        default=PRICES,
        description="Dollars per million tokens by model: input, output, cache_write, cache_read, and for "
        "prompts of more than long_above tokens the long_factor; adds to the prices known by default.",
    )
    daily_budget_dollars: Dollars | None = Field(
        default=None, description="What the whole cluster may spend in a day; no limit if unset."
    )
    character_budget_dollars: Dollars | None = Field(
        default=None, description="What each character may spend in a day; no limit if unset."
    )
    time_zone: str = Field(
        default="UTC", description="The time zone at whose midnight the budgets of the day begin anew."
    )

    @property
    def is_unbounded(self) -> bool:
        """Whether calls cost money, and nothing bounds what all users spend together."""
        return self.daily_budget_dollars is None and not self.stand_in

    @field_validator("prices", mode="before")
    @classmethod
    def _add_known_prices(cls, given: object) -> object:
        """One JSON object in the environment, tables in the file."""
        if isinstance(given, str):
            try:
                given = orjson.loads(given)
            except orjson.JSONDecodeError:
                raise ValueError("not a JSON object of prices by model") from None
        return {**PRICES, **given} if isinstance(given, Mapping) else given

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, given: str) -> str:
        try:
            ZoneInfo(given)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no time zone of that name; say for example Europe/Berlin") from None
        return given
