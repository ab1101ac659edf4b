"""What calls to the model used and cost."""

from __future__ import annotations

from ccn.core.calls.call import TokenUsage
from ccn.core.calls.price import DOLLAR
from ccn.metrics import series

_api_tokens = series.counter(
    "ccn_api_tokens_total",
    "Tokens that calls to the model used, by kind. Alarming: cache_read far below input for an hour.",
    ("model", "kind"),
)
_api_cost = series.counter(
    "ccn_api_cost_dollars_total",
    "Dollars that calls to the model cost. Alarming: a day's pace that exceeds the daily budget.",
    ("model",),
)


def count_payment(model: str, usage: TokenUsage, microdollars: int) -> None:
    """Count what a settled call to the model cost. Models are those that have a price."""
    for kind in ("input", "output", "cache_read", "cache_write"):
        _api_tokens.labels(model, kind).inc(getattr(usage, kind))
    _api_cost.labels(model).inc(microdollars / DOLLAR)
