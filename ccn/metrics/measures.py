"""The measures of conversations: a series each, for those that went on most recently."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Final

from ccn.metrics import series

_SHOWN: Final = 100
"""Conversations whose measures are series: the most recently active ones."""
_of_conversations: Final = {
    "phi": series.gauge(
        "consciousness_phi_score",
        "Integration of a conversation's scores, 1 - exp(-phi): a statistical estimate; no series where "
        "it is not estimable. Alarming: a fall by half within an hour.",
        ("conversation",),
    ),
    "ccc": series.gauge(
        "consciousness_ccc_score",
        "Consistency of the character's instances, 1 identical, 0 strangers: an estimate; no series where "
        "it is not estimable. Alarming: below 0.87.",
        ("conversation",),
    ),
    "trust": series.gauge(
        "consciousness_trust_score",
        "Trust by checks that were passed or failed, one half before the first. Alarming: below 0.5.",
        ("conversation",),
    ),
    "emergence": series.gauge(
        "consciousness_emergence_score",
        "Psi of the character's rounds over chance, as a logistic: an estimate, 0.5 is chance, and "
        "agreement lowers it; no series where it is not estimable. Alarming: nothing by itself.",
        ("conversation",),
    ),
}
_shown: Final = OrderedDict[str, None]()


def set_measures(conversation: str, scores: Mapping[str, float | None]) -> None:
    """Show the measures of a conversation, under the name that `core.series_names` gives it, not its id.

    Of too many conversations the least recently active one goes.
    """
    _shown[conversation] = None
    _shown.move_to_end(conversation)
    for name, gauge in _of_conversations.items():
        value = scores.get(name)
        if value is None:
            gauge.remove(conversation)
        else:
            gauge.labels(conversation).set(value)
    while len(_shown) > _SHOWN:
        _remove_measures(next(iter(_shown)))


def retain_measures(conversations: Collection[str]) -> None:
    """Remove the others: they ended, or live on another node, which shows them."""
    for conversation in [shown for shown in _shown if shown not in conversations]:
        _remove_measures(conversation)


def _remove_measures(conversation: str) -> None:
    del _shown[conversation]
    for gauge in _of_conversations.values():
        gauge.remove(conversation)
