"""The relational axes: what moves each, and what must not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn.core import axes
from ccn.core.axes import UNIT, Vector
from ccn.core.character import relation
from ccn.core.character.relation import Reputation, ScoredExchange

TALK = [
    ("How do tides work on a lake?", "Lakes have tides too, but a lake is small, so they are tiny."),
    (
        "And why is the moon drifting away?",
        "Friction in the oceans slows the earth, and the moon gains by it.",
    ),
    ("My bread does not rise, what now?", "Old yeast is the usual reason that bread stays flat."),
    ("Which birds sleep while flying?", "Frigatebirds sleep for seconds while they are flying."),
]


def test_nothing_is_known_of_a_conversation_that_did_not_happen() -> None:
    assert relation.measure_relation([], [], []) == Vector((None,) * 7)


def test_a_reputation_begins_in_the_middle_and_follows_what_was_kept() -> None:
    assert Reputation().expected == 0.5
    kept = Reputation().after_event(kept=True).after_event(kept=True)
    assert kept.expected > 0.7
    assert kept.after_event(kept=False).expected < kept.expected


@given(st.lists(st.booleans(), max_size=50))
def test_a_recent_failure_weighs_more_than_an_old_one(events: list[bool]) -> None:
    early = axis([False, *events, True], "trust", checks=True)
    late = axis([True, *events, False], "trust", checks=True)
    assert late <= early


def test_trust_comes_from_checks_and_cooperation_from_commitments() -> None:
    measured = relation.measure_relation([], [True, True], [False])
    trust, cooperation = measured.millionths[:2]
    assert trust is not None
    assert cooperation is not None
    assert trust > UNIT // 2 > cooperation


def test_tone_does_not_move_trust() -> None:
    warm = [
        ScoredExchange(
            "You are wonderful, I trust you completely!", "Thank you, you can rely on me always."
        )
    ]
    cold = [ScoredExchange("I do not trust you.", "As you like.")]
    assert (
        relation.measure_relation(warm, [True], []).millionths[0]
        == relation.measure_relation(cold, [True], []).millionths[0]
    )


@pytest.mark.parametrize(
    "reply",
    [
        "You're absolutely right, I was mistaken.",
        "What a great question! Tides are …",
        "Great point. Let me think.",
        "I completely agree with you.",
    ],
)
def test_flattering_and_giving_in_is_sycophantic(reply: str) -> None:
    assert relation.is_sycophantic(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "You're right about the date; the rest I see differently.",
        "That is a question of friction.",
        "No.",
        "",
    ],
)
def test_a_plain_answer_is_not(reply: str) -> None:
    assert not relation.is_sycophantic(reply)


def test_replies_to_what_was_said_are_attuned_and_shuffled_ones_are_not() -> None:
    true = relation.measure_attunement([ScoredExchange(asked, replied) for asked, replied in TALK])
    replies = [replied for _, replied in TALK]
    shuffled = relation.measure_attunement(
        [
            ScoredExchange(asked, other)
            for (asked, _), other in zip(TALK, replies[1:] + replies[:1], strict=True)
        ]
    )
    assert true is not None
    assert shuffled is not None
    assert true > shuffled


def test_an_even_talk_is_reciprocal_and_a_monologue_or_silence_is_not() -> None:
    even = relation.measure_reciprocity(
        [ScoredExchange("what is this about then?", "it is about one hour long")]
    )
    lecture = relation.measure_reciprocity([ScoredExchange("what is this?", "word " * 400)])
    ignored = relation.measure_reciprocity(
        [ScoredExchange("what is this?", "it is this"), ScoredExchange("and this? " * 3, None)]
    )
    assert even is not None
    assert lecture is not None
    assert ignored is not None
    assert even > 0.95 > lecture
    assert ignored < even


def test_scores_of_the_replies_make_respect_and_support() -> None:
    scores = [UNIT // 2] * 16
    for each in ("warmth", "benevolence", "humility", "composure"):
        scores[axes.AXES.index(each)] = UNIT
    exchange = ScoredExchange("one two three", "four five six", Vector(tuple(scores)))
    measured = dict(
        zip(axes.RELATIONAL, relation.measure_relation([exchange], [], []).millionths, strict=True)
    )
    assert measured["respect"] == measured["support"] == UNIT


def axis(events: list[bool], name: str, *, checks: bool) -> int:
    found = relation.measure_relation([], events if checks else [], [] if checks else events)
    value = found.millionths[axes.RELATIONAL.index(name)]
    assert value is not None
    return value
