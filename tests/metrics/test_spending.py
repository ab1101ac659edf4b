"""What calls to the model used and cost."""

from __future__ import annotations

from collections.abc import Callable

from ccn import metrics
from ccn.core.calls.call import TokenUsage

KINDS = ("input", "output", "cache_read", "cache_write")


def test_tokens_are_counted_by_kind_and_the_cost_in_dollars(value: Callable[[str], float | None]) -> None:
    metrics.spending.count_payment("test-model", TokenUsage(10, 20, 30, 40), 2_500_000)
    told = {kind: value(f'ccn_api_tokens_total{{kind="{kind}",model="test-model"}}') for kind in KINDS}
    assert told == {kind: getattr(TokenUsage(10, 20, 30, 40), kind) for kind in KINDS}
    assert sum(filter(None, told.values())) == 100.0
    assert value('ccn_api_cost_dollars_total{model="test-model"}') == 2.5
