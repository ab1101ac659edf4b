"""Training comes out the same bit for bit, in whatever order sums are taken, and learns no topics."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from ccn.core.axes import AXES
from ccn.core.character.scoring import linear
from ccn.core.character.scoring.scorer import LinearScorer
from scripts.scorer import judging, parts, splits, training
from scripts.scorer.corpus import EVIDENCE, MESSAGES, STATEMENTS, Sample

WORDS = ["sea", "boat", "wind", "harbour", "rope", "light", "coat", "table", "letter", "garden", "bread"]
POLES = {True: "splendid laughing marvellous", False: "dreary grumbling wretched"}


def said(dice: random.Random, *, shown: bool, sentences: int) -> str:
    def sentence() -> str:
        return " ".join([*dice.sample(WORDS, 6), dice.choice(POLES[shown].split())]).capitalize() + "."

    return " ".join(sentence() for _ in range(sentences))


@pytest.fixture(scope="module")
def slice_() -> list[Sample]:
    """A few messages and statements, of made-up words, for tasks that together speak for all axes."""
    dice = random.Random(1)
    messages = [
        Sample(
            task, shown, said(dice, shown=shown, sentences=4), f"question {number % 4}", number % 3, 50.0
        )
        for task in MESSAGES
        for number in range(6)
        for shown in (True, False)
    ]
    statements = [
        Sample(task, shown, said(dice, shown=shown, sentences=1))
        for task in STATEMENTS
        for _ in range(4)
        for shown in (True, False)
    ]
    return [*messages, *statements]


def packed(samples: list[Sample]) -> bytes:
    seen = training.see(samples)
    return training.pack("tier-1/slice", training.fit(seen), seen, {})


def test_weights_come_out_bit_for_bit_even_if_sums_are_taken_in_another_order(slice_: list[Sample]) -> None:
    shuffled = list(slice_)
    random.Random(2).shuffle(shuffled)
    assert packed(shuffled) == packed(slice_)


def test_a_trained_scorer_tells_the_poles_it_was_shown(slice_: list[Sample]) -> None:
    scorer = LinearScorer(linear.parse_weights(packed(slice_)))
    dice = random.Random(3)
    at = AXES.index("playfulness")
    high = scorer.score(said(dice, shown=True, sentences=4)).scores[at]
    low = scorer.score(said(dice, shown=False, sentences=4)).scores[at]
    assert high is not None
    assert low is not None
    assert high > 0.5 > low


def test_every_axis_has_evidence_and_every_piece_of_evidence_an_axis() -> None:
    named = {axis for evidence in EVIDENCE.values() for axis in evidence}
    assert named == set(AXES)
    assert all(0 < abs(value) <= 1 for evidence in EVIDENCE.values() for value in evidence.values())


@pytest.mark.parametrize("number", range(splits.SPLITS))
def test_no_split_tests_with_a_question_or_prompt_it_trained_on(slice_: list[Sample], number: int) -> None:
    split = splits.split(slice_ * 5, number)
    trained = {(s.task, s.question) for s in split.train if s.is_message}
    assert trained.isdisjoint((s.task, s.question) for s in split.test if s.is_message)
    prompts = {(s.task, s.prompt) for s in split.train if s.is_message}
    assert prompts.isdisjoint((s.task, s.prompt) for s in split.test if s.is_message)
    assert {s.text for s in split.train}.isdisjoint(s.text for s in split.test)


def test_thirds_of_the_questions_test_every_message_once_and_never_a_trained_question(
    slice_: list[Sample],
) -> None:
    thirds = [splits.by_question(slice_, third) for third in range(3)]
    tested = [id(sample) for split in thirds for sample in split.test]
    assert sorted(tested) == sorted(id(sample) for sample in slice_ if sample.is_message)
    for split in thirds:
        trained = {(s.task, s.question) for s in split.train if s.is_message}
        assert trained.isdisjoint((s.task, s.question) for s in split.test)


def test_pieces_are_sentences_of_their_message_and_always_the_same() -> None:
    sample = Sample("curious", True, said(random.Random(4), shown=True, sentences=8), "q", 0)
    for piece in parts.pieces(sample):
        assert piece.text in sample.text
        assert piece.text != sample.text
    assert list(parts.pieces(sample)) == list(parts.pieces(sample))
    assert list(parts.pieces(Sample("curious", True, "One sentence that is short.", "q", 0))) == []


def test_an_area_counts_pairs() -> None:
    shown = np.array([True, True, False, False])
    assert judging.area(np.array([3.0, 2.0, 1.0, 0.0]), shown) == 1.0
    assert judging.area(np.array([1.0, 1.0, 1.0, 1.0]), shown) == 0.5
    assert math.isnan(judging.area(np.array([1.0, 2.0]), np.array([True, True])))


def test_pairs_of_unequal_length_do_not_count_where_lengths_are_matched() -> None:
    shown = np.repeat([True, False], 10)
    lengths = np.tile([10.0, 100.0], 10)
    scores = np.where(lengths == 100, 1.0, 0.0)
    assert judging.area_of_equal_length(scores, shown, lengths) == 0.5
    assert math.isnan(judging.area_of_equal_length(scores, shown, np.arange(1, 21) ** 2.0 * shown + ~shown))


def test_ranks_ignore_how_far_apart_values_are() -> None:
    first = np.array([1.0, 2.0, 3.0, 4.0])
    assert math.isclose(judging.rank_correlation(first, np.exp(first)), 1.0)
    assert math.isclose(judging.rank_correlation(first, -first), -1.0)


def test_windows_of_a_source_that_never_varies_are_reliable() -> None:
    steady = [np.full((40, 16), value) for value in (0.2, 0.5, 0.8)]
    noise = np.random.default_rng(0)
    assert judging.reliability(steady, 10) == 1.0
    assert judging.reliability([noise.random((40, 16)) for _ in range(6)], 10) < 0.7


def test_strangers_are_as_far_apart_as_their_windows_and_opposites_are_none() -> None:
    steady = [np.full((40, 16), value) for value in (0.2, 0.5, 0.8)]
    three = list(zip("abc", steady, strict=True))
    assert math.isclose(judging.strangers(three, 10), (0.09 + 0.09 + 0.36) / 3)
    opposites = list(zip("aba", steady, strict=True))
    assert math.isclose(judging.strangers(opposites, 10), 0.09)
    assert math.isclose(judging.strangers([*opposites, ("c", steady[0][:9])], 10), 0.09), "too few messages"
