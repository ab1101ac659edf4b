"""What a score rests on: words that mean something, or punctuation and words that stand in every text.

Separate from the scorers, which weigh all features alike: this says how far people should trust what they
weighed. "No! Your …" moves honesty, and tells nearly nothing about it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ccn.core.character.scoring.scorer import FeatureEffect
from ccn.core.character.scoring.words import NEGATED

LITTLE = 0.4
"""Below this share of words that mean something there is little evidence: in a fifth of messages."""

_FUNCTION = frozenset(
    re.findall(
        r"\S+",
        """
        a about above after again against ah all also although always am among an and another any are
        aren't as at be because been before being below between both but by came can can't cannot come
        could couldn't did didn't do does doesn't doing don't done down during each either else even
        ever every few for from get go going gone got had hadn't has hasn't have haven't having he he's
        her here here's hers herself him himself his how i i'd i'll i'm i've if in into is isn't it it's
        its itself just least less let let's like made make many may me might mine more most much must
        my myself neither never no none nor not nothing of off oh on one only onto or other ought our
        ours ourselves out over own per put quite said same say shall she she's should shouldn't since
        so some still such take than that that's the their theirs them themselves then there there's
        these they they'd they'll they're they've this those though through to too took under unless
        until up upon us very via was wasn't we we'd we'll we're we've well were weren't what what's
        when where whether which while who who's whom whose why will with within without won't would
        wouldn't yes yet you you'd you'll you're you've your yours yourself yourselves
        """,
    )
)


def means_something(feature: str) -> bool:
    """Return whether a feature names a word with a meaning of its own, not a mark or a common word."""
    if feature.startswith("<"):
        return feature == "<lexicon>"
    words = (each.removeprefix(NEGATED).removesuffix("*") for each in feature.split())
    return any(word[:1].isalpha() and word not in _FUNCTION for word in words)


def meaningful_share(moved: Sequence[FeatureEffect], score: float) -> float:
    """Return which share of what moved an axis are words with a meaning, or 0 if nothing moved it."""
    towards = [each for each in moved if (each.by > 0) == (score >= 0.5)]
    whole = sum(abs(each.by) for each in towards)
    return sum(abs(each.by) for each in towards if means_something(each.feature)) / whole if whole else 0.0


def order_by_meaning(moved: Sequence[FeatureEffect]) -> list[FeatureEffect]:
    """Put features with a meaning of their own first; otherwise the order stays."""
    return sorted(moved, key=lambda each: not means_something(each.feature))
