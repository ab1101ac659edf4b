"""What models cost, in dollars: the list prices, and how an operator writes others.

Separate from `core.calls.price`, which counts in whole microdollars and knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

from pydantic import Field

from ccn.core.calls import price
from ccn.settings.fields import Dollars, SettingsGroup


class DollarPrice(SettingsGroup):
    """Dollars for a million tokens of one model."""

    input: Dollars
    output: Dollars
    cache_write: Dollars
    cache_read: Dollars
    long_above: int | None = Field(default=None, gt=0)
    long_factor: Annotated[Decimal, Field(ge=1, le=100, decimal_places=2)] = Decimal(1)

    def to_microdollars(self) -> price.Price:
        """The same in whole microdollars."""
        return price.Price(
            input=price.microdollars_from(self.input),
            output=price.microdollars_from(self.output),
            cache_write=price.microdollars_from(self.cache_write),
            cache_read=price.microdollars_from(self.cache_read),
            long_above=self.long_above,
            long_percent=int(self.long_factor * 100),
        )


def _dollar_price(input_: str, output: str, write: str, read: str) -> DollarPrice:
    return DollarPrice(
        input=Decimal(input_), output=Decimal(output), cache_write=Decimal(write), cache_read=Decimal(read)
    )


# List prices of November 2026, with caches kept for five minutes:
# https://platform.claude.com/docs/en/about-claude/pricing
PRICES: Mapping[str, DollarPrice] = {
    "claude-fable-5-2": _dollar_price("8", "40", "10", "0.20"),
    **dict.fromkeys(("claude-fable-5-1", "claude-mythos-5-1"), _dollar_price("10", "50", "12.50", "0.25")),
    **dict.fromkeys(("claude-fable-5", "claude-mythos-5"), _dollar_price("10", "50", "12.50", "1")),
    "claude-opus-5-5": _dollar_price("4", "20", "5", "0.20"),
    **dict.fromkeys(
        ("claude-opus-5", "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5"),
        _dollar_price("5", "25", "6.25", "0.50"),
    ),
    "claude-sonnet-5-5": _dollar_price("2", "10", "2.50", "0.10"),
    "claude-sonnet-5": _dollar_price("2", "10", "2.50", "0.20"),
    **dict.fromkeys(("claude-sonnet-4-6", "claude-sonnet-4-5"), _dollar_price("3", "15", "3.75", "0.30")),
    "claude-haiku-5-5": _dollar_price("0.10", "0.50", "0.125", "0.01").model_copy(
        update={"long_above": 100_000, "long_factor": Decimal(5)}
    ),
    "claude-haiku-4-5": _dollar_price("1", "5", "1.25", "0.10"),
}
