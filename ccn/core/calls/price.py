"""What tokens cost, in whole millionths of a dollar, so that sums are exact and the same everywhere.

A price is per million tokens, as providers publish it. A cost is rounded up once, at its end, so the sum of
costs is never less than what was charged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from ccn import errors
from ccn.core.calls import tokens
from ccn.core.calls.call import Call, TokenUsage

DOLLAR = 1_000_000
"""Microdollars in a dollar, and tokens in the million that a price is for."""

_DATED = re.compile(r"-\d{8}$")


@dataclass(frozen=True, slots=True)
class Price:
    """Microdollars per million tokens; a prompt of more than `long_above` makes all of them dearer."""

    input: int
    output: int
    cache_write: int
    cache_read: int
    long_above: int | None = None
    long_percent: int = 100


@dataclass(frozen=True, slots=True)
class CallSize:
    """What bounds the cost of a call: its model, and tokens of its prompt and its reply at most."""

    model: str
    prompt: int
    reply: int


def cost_of_usage(price: Price, usage: TokenUsage) -> int:
    """Microdollars for a call, rounded up."""
    amount = (
        usage.input * price.input
        + usage.output * price.output
        + usage.cache_write * price.cache_write
        + usage.cache_read * price.cache_read
    )
    prompt = usage.input + usage.cache_write + usage.cache_read
    return _divide_up(amount * _long_percent(price, prompt), 100 * DOLLAR)


def bound_cost(price: Price, prompt: int, most: int) -> int:
    """Microdollars that a call with so many tokens of prompt and `most` of output can cost at most."""
    dearest = max(price.input, price.cache_write, price.cache_read)
    return _divide_up((prompt * dearest + most * price.output) * _long_percent(price, prompt), 100 * DOLLAR)


def estimate_prompt(call: Call) -> int:
    """Tokens of a call's prompt, rather too many than too few.

    One estimate of all the parts is no less than the sum of theirs: a line break between two is a token,
    which is more than rounding up once saves.
    """
    parts = [*(block.text for block in call.system), *(said.text for said in call.messages)]
    return tokens.estimate_tokens("\n".join(parts)) + tokens.PER_BLOCK * len(parts)


def measure_call(call: Call) -> CallSize:
    """How large a call is."""
    return CallSize(call.model, estimate_prompt(call), call.max_tokens)


def price_of(prices: Mapping[str, Price], model: str) -> Price:
    """The price of a model; a dated name costs what its undated one does."""
    price = prices.get(model) or prices.get(_DATED.sub("", model))
    if price is None:
        raise errors.ModelRefused(f"CCN_CLAUDE_PRICES has no price for {model}, so it is not asked")
    return price


def microdollars_from(dollars: Decimal) -> int:
    """Whole microdollars; what is finer than one is left out."""
    return int(dollars * DOLLAR)


def _long_percent(price: Price, prompt: int) -> int:
    return price.long_percent if price.long_above is not None and prompt > price.long_above else 100


def _divide_up(amount: int, unit: int) -> int:
    return -(-amount // unit)
