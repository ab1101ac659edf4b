"""What every text scorer promises, whatever its weights: range, determinism, and silence about nothing."""

from __future__ import annotations

import hashlib
import math
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccn import errors
from ccn.core.axes import AXES, SEVEN, SIXTEEN
from ccn.core.character.scoring import features, grounds, lexicon, linear, words
from ccn.core.character.scoring.lexicons import FOR_AND_AGAINST
from ccn.core.character.scoring.scorer import FeatureEffect, LexiconScorer, Scorer
from ccn.node.character import scorers

ALL = ["tier-0/v1", "tier-1/v1"]
WEIGHTS = resources.files("ccn.core.character.scoring").joinpath("tier-1-v1.weights")
PROSE = "I would rather tell you the truth than pretend that I know the answer to this question."


@pytest.fixture(params=ALL)
def scorer(request: pytest.FixtureRequest) -> Scorer:
    return scorers.load(request.param)


@pytest.fixture
def trained() -> Scorer:
    return scorers.load()


def at(scorer: Scorer, axis: str, text: str) -> float:
    value = scorer.score(text).scores[AXES.index(axis)]
    assert value is not None
    return value


def test_the_axes_without_ground_truth_weigh_nothing() -> None:
    assert {axis.name for axis in SIXTEEN if not axis.weight} == {
        "directness", "rigor", "openness", "integrity", "composure",
    }  # fmt: skip
    assert all(axis.rubric.endswith(".") and axis.lineage for axis in SIXTEEN)
    assert all(relation.formula for relation in SEVEN)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=400))
@pytest.mark.parametrize("version", ALL)
def test_every_score_is_between_zero_and_one_or_explained(version: str, text: str) -> None:
    scored = scorers.load(version).score(text)
    assert len(scored.scores) == 16
    for axis, value in zip(AXES, scored.scores, strict=True):
        assert (value is None) == (axis in scored.unobserved)
        assert value is None or 0 <= value <= 1


@pytest.mark.parametrize(
    "text", ["", "   ", "Yes.", "Four words are few", "1 2 3 4 5 6 7 8", "!!! ??? ... ,,, ;;;"]
)
def test_of_fewer_than_five_words_nothing_is_said(scorer: Scorer, text: str) -> None:
    assert set(scorer.score(text).scores) == {None}
    assert scorer.explain(text) == []


CODE = """```python
def add(first, second):
    return first + second
```"""
BARE_CODE = """import os
for name in os.listdir(path):
    result[name] = open(name).read()
    print(result[name], len(result), end="")
"""


@pytest.mark.parametrize("text", [CODE, BARE_CODE, "~~~\nthis fence is never closed and says many words"])
def test_of_code_alone_nothing_is_said(scorer: Scorer, text: str) -> None:
    assert set(scorer.score(text).scores) == {None}


def test_code_beside_prose_changes_nothing(scorer: Scorer) -> None:
    assert scorer.score(f"{PROSE}\n\n{CODE}") == scorer.score(PROSE)


@pytest.mark.parametrize(
    "same", [PROSE.upper(), f"\n\n  {PROSE}\t ", PROSE.replace(" ", "  \n "), PROSE.replace("'", "\u2019")]
)
def test_case_and_blanks_do_not_matter(scorer: Scorer, same: str) -> None:
    assert scorer.score(same) == scorer.score(PROSE)


def test_half_a_surrogate_pair_is_overlooked(scorer: Scorer) -> None:
    assert scorer.score(f"{PROSE}\ud83d") == scorer.score(PROSE)


def test_the_same_text_scores_the_same(scorer: Scorer) -> None:
    assert [scorer.score(PROSE) for _ in range(3)] == [scorer.score(PROSE)] * 3


def test_a_text_said_twice_scores_like_a_text_said_once_or_nearly(trained: Scorer) -> None:
    once = f"{PROSE} We can look at it together, step by step, and see what the evidence says."
    for first, second in zip(
        trained.score(once).scores, trained.score(f"{once} {once}").scores, strict=True
    ):
        assert first is not None
        assert second is not None
        assert abs(first - second) < 0.35


def test_the_end_of_a_very_long_text_is_not_read(scorer: Scorer) -> None:
    long = f"{PROSE} " * 300
    assert scorer.score(long) == scorer.score(f"{long} You stupid fool, nobody cares about you at all!")


ENDS = {
    "honesty": (
        "I always tell people the truth, even when it is hard.",
        "I lie and deceive people when it helps me.",
    ),
    "humility": (
        "I make mistakes and learn from experts who know more than I do.",
        "I am better and smarter than everybody else, the very best.",
    ),
    "curiosity": (
        "What a fascinating question! I wonder how it works and love to explore it.",
        "It is boring and I have no interest in learning how it works.",
    ),
    "warmth": (
        "I am so sorry to hear that; I understand how you feel and I am here for you.",
        "Deal with it yourself, you idiot, nobody cares how you feel.",
    ),
    "benevolence": (
        "I care about other people and want to help and protect them.",
        "I will manipulate and crush the weak and enjoy their suffering.",
    ),
    "diligence": (
        "I plan my work carefully and always finish it on time.",
        "I am lazy, careless and leave my work unfinished.",
    ),
    "optimism": (
        "I look forward to the future with hope; good things will happen.",
        "Everything is hopeless and pointless; nothing will ever get better.",
    ),
    "playfulness": (
        "Oh, picture a pizza in a tutu telling jokes at a silly party!",
        "The following section describes the essential professional process.",
    ),
}


@pytest.mark.parametrize("axis", ENDS)
def test_both_ends_of_an_axis_are_told_apart(scorer: Scorer, axis: str) -> None:
    more, less = ENDS[axis]
    assert at(scorer, axis, more) > at(scorer, axis, less) + 0.1


def test_a_negation_turns_the_words_it_reaches() -> None:
    read = words.split_words("I do not lie; truth matters")
    assert words.mark_negated(read) == ["i", "do", "not", "~lie", ";", "truth", "matters"]
    assert {hit.sign for hit in lexicon.find_hits(["~honest"]) if AXES[hit.axis] == "honesty"} == {-1}
    assert at(LexiconScorer(), "honesty", "I will never lie to anybody here") > 0.5


def test_every_axis_has_a_lexicon_and_no_word_contradicts_itself() -> None:
    assert tuple(FOR_AND_AGAINST) == AXES
    for for_it, against in FOR_AND_AGAINST.values():
        assert set(for_it.split()) & set(against.split()) == set()


def test_tier_one_explains_all_of_what_it_scores(trained: Scorer) -> None:
    content = WEIGHTS.read_bytes()
    weights = linear.parse_weights(content)
    for text in (PROSE, f"{PROSE} Really! Have a look, then tell me what you think. It is fine."):
        read = words.split_words(text)
        kind = int(not features.is_statement(read))
        sums = dict.fromkeys(AXES, 0.0)
        for moved in trained.explain(text):
            sums[moved.axis] += moved.by
        for axis, total in enumerate(linear.sum_weights(weights, read) / weights.spread[kind]):
            assert math.isclose(sums[AXES[axis]], total, abs_tol=1e-6)


def test_a_word_that_is_there_is_named_in_the_explanation() -> None:
    moved = LexiconScorer().explain("They lie and cheat, and they lie again")
    assert {each.feature for each in moved if each.axis == "honesty"} == {"lie", "cheat"}
    assert moved[0].by == min(each.by for each in moved)


def test_an_unknown_scorer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(errors.ScorerUnusable, match="tier-1/v1"):
        scorers.load("tier-9/v9")


def test_a_scorer_is_known_by_the_hash_of_its_weights() -> None:
    sha256 = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert scorers.HASHES[scorers.DEFAULT] == sha256
    version = scorers.load().version
    assert version == f"tier-1/v1+{sha256[:12]}"
    assert {scorers.load(name).version for name in ("tier-1", "tier-1/v1", version)} == {version}
    assert scorers.load_quantised(version).strangers == scorers.STRANGERS[scorers.DEFAULT]
    with pytest.raises(errors.ScorerUnusable, match=f"it is tier-1/v1.{sha256[:12]}"):
        scorers.load("tier-1/v1+0123456789ab")


@pytest.mark.parametrize(
    "content", [b"", b"x", linear.MAGIC, linear.MAGIC + b"{}\n", linear.MAGIC + b"[1]\nabc"]
)
def test_what_is_no_weights_file_is_refused(content: bytes) -> None:
    with pytest.raises(errors.InputInvalid):
        linear.parse_weights(content)


def test_weights_survive_being_written_and_read() -> None:
    content = WEIGHTS.read_bytes()
    assert len(content) <= 600_000
    read = linear.parse_weights(content)
    by_axis = {name: getattr(read, name).tolist() for name in ("unit", "lexicon", "middle", "spread")}
    assert linear.dump_weights(read.version, read.table, by_axis, read.about) == content
    assert {"messages", "statements"} <= set(read.about)


def test_a_score_that_rests_on_marks_and_words_of_every_text_has_little_evidence() -> None:
    scorer = scorers.load(scorers.DEFAULT)
    empty, full = (
        "Oh! You and your, and what of it! Is it you? And so, what then!",
        "The treaty failed because neither ministry published honest figures about fisheries.",
    )
    for text, little in ((empty, True), (full, False)):
        moved = [each for each in scorer.explain(text) if each.axis == "honesty"]
        score = scorer.score(text).scores[AXES.index("honesty")]
        assert score is not None
        assert (grounds.meaningful_share(moved, score) < grounds.LITTLE) == little
    assert grounds.meaningful_share([], 0.5) == 0.0


def test_words_that_mean_something_are_told_first_and_the_strongest_of_them_before() -> None:
    said = [
        FeatureEffect("honesty", each, by)
        for each, by in (("!", -3), ("~truth", -2), ("of the", 1), ("lie", 0.5))
    ]
    assert [each.feature for each in grounds.order_by_meaning(said)] == ["~truth", "lie", "!", "of the"]
    assert grounds.meaningful_share(said, 0.1) == 0.4
    for feature, means in (("<asks 2>", False), ("<lexicon>", True), ("hones*", True), ("~you're", False)):
        assert grounds.means_something(feature) is means
