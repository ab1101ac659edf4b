"""Prices: exact, rounded up once, and a bound that no call exceeds."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors, settings
from ccn.core.calls import price, tokens
from ccn.core.calls.call import Call, CallBlock, CallMessage, TokenUsage
from ccn.core.calls.price import Price
from ccn.core.message import Role

SONNET = Price(input=2_000_000, output=10_000_000, cache_write=2_500_000, cache_read=100_000)
COUNTS = st.integers(0, 2_000_000)
USAGES = st.builds(TokenUsage, COUNTS, COUNTS, COUNTS, COUNTS)
PRICES = st.builds(
    Price,
    *[st.integers(0, 100_000_000)] * 4,
    long_above=st.none() | st.integers(1, 1_000_000),
    long_percent=st.integers(100, 1000),
)


def test_a_million_tokens_of_each_kind_cost_what_the_table_says() -> None:
    million = 1_000_000
    assert price.cost_of_usage(SONNET, TokenUsage(input=million)) == 2_000_000
    assert price.cost_of_usage(SONNET, TokenUsage(output=million)) == 10_000_000
    assert price.cost_of_usage(SONNET, TokenUsage(cache_read=million)) == 100_000
    assert price.cost_of_usage(SONNET, TokenUsage(cache_write=million)) == 2_500_000


def test_a_fraction_of_a_microdollar_is_rounded_up_once() -> None:
    cheap = Price(input=1, output=1, cache_write=1, cache_read=1)
    assert price.cost_of_usage(cheap, TokenUsage(1, 1, 1, 1)) == 1
    assert price.cost_of_usage(cheap, TokenUsage()) == 0


def test_a_long_prompt_makes_every_token_dearer() -> None:
    tiered = Price(1_000_000, 1_000_000, 1_000_000, 1_000_000, long_above=100, long_percent=500)
    assert price.cost_of_usage(tiered, TokenUsage(input=60, cache_read=40, output=10)) == 110
    assert price.cost_of_usage(tiered, TokenUsage(input=61, cache_read=40, output=10)) == 555


@given(PRICES, USAGES)
def test_a_cost_is_the_exact_sum_rounded_up(one: Price, usage: TokenUsage) -> None:
    exact = Fraction(
        usage.input * one.input
        + usage.output * one.output
        + usage.cache_read * one.cache_read
        + usage.cache_write * one.cache_write,
        1_000_000,
    )
    if one.long_above is not None and usage.input + usage.cache_read + usage.cache_write > one.long_above:
        exact *= Fraction(one.long_percent, 100)
    assert 0 <= price.cost_of_usage(one, usage) - exact < 1


@given(PRICES, USAGES, COUNTS, COUNTS)
def test_no_call_costs_more_than_its_bound(one: Price, usage: TokenUsage, more: int, unsaid: int) -> None:
    prompt = usage.input + usage.cache_read + usage.cache_write + more
    assert price.cost_of_usage(one, usage) <= price.bound_cost(one, prompt, usage.output + unsaid)


def test_a_dated_model_costs_what_its_undated_name_does_and_an_unknown_one_is_refused() -> None:
    prices = {"claude-sonnet-5-5": SONNET}
    assert price.price_of(prices, "claude-sonnet-5-5-20260901") is SONNET
    with pytest.raises(errors.ModelRefused, match="CCN_CLAUDE_PRICES has no price for claude-other"):
        price.price_of(prices, "claude-other")


def test_a_prompt_is_never_counted_too_short() -> None:
    call = Call("m", (CallBlock("Be kind. " * 50),), (CallMessage(Role.USER, "x" * 400),), 10)
    assert price.estimate_prompt(call) >= (450 + 400) // 4


@given(st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_a_prompt_is_counted_no_shorter_than_its_parts(texts: list[str]) -> None:
    call = Call("m", (CallBlock(texts[0]),), tuple(CallMessage(Role.USER, text) for text in texts[1:]), 1)
    parts = sum(map(tokens.estimate_tokens, texts))
    assert parts <= price.estimate_prompt(call) <= parts + 2 * len(texts) + tokens.PER_BLOCK


def test_every_default_price_is_exact_in_microdollars_and_ordered_as_providers_order_them() -> None:
    for model, dollars in settings.PRICES.items():
        exact = dollars.to_microdollars()
        assert Decimal(exact.input) / 1_000_000 == dollars.input, model
        assert exact.cache_read < exact.input < exact.cache_write < exact.output, model
    assert settings.ClaudeSettings().model in settings.PRICES
