"""An anchor moves only when that is worth a new cache, and is kept and read as it is."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ccn.core.axes import AXES, UNIT, Vector
from ccn.core.ids import ConversationId
from ccn.core.prompts import anchor
from ccn.core.prompts.anchor import Anchor, MeasuredStates, RecalledConversation, ShownState, StateSource

scores = st.lists(st.none() | st.integers(0, UNIT), min_size=16, max_size=16).map(
    lambda v: Vector(tuple(v))
)
states = st.builds(
    ShownState,
    seq=st.integers(0, 10_000),
    character=st.none() | scores,
    relational=st.none(),
    reminder=st.booleans(),
    source=st.sampled_from(StateSource),
)
anchors = st.builds(
    Anchor,
    plate=st.integers(1, 9),
    states=st.lists(states, min_size=1, max_size=4).map(tuple),
    memories=st.lists(
        st.builds(RecalledConversation, st.uuids().map(ConversationId), st.integers(1, 99)), max_size=3
    ).map(tuple),
    kept_from=st.integers(1, 500),
    version=st.integers(1, 500),
)


def flat(millionths: int) -> Vector:
    return Vector((millionths,) * len(AXES))


@given(anchors)
def test_an_anchor_is_read_as_it_was_kept(one: Anchor) -> None:
    assert anchor.anchor_from_json(one.plate, one.kept_from, one.version, one.to_json()) == one


def test_a_small_move_is_shown_only_when_the_state_has_stood_for_a_while() -> None:
    shown = Anchor(1, (ShownState(0, flat(500_000)),))
    moved = MeasuredStates(flat(500_000 + anchor.MOVED))
    assert anchor.refresh_anchor(shown, moved, anchor.SETTLED - 1) is shown
    assert anchor.refresh_anchor(shown, moved, anchor.SETTLED).version == shown.version + 1


def test_a_leap_is_shown_at_once() -> None:
    shown = Anchor(1, (ShownState(0, flat(500_000)),))
    refreshed = anchor.refresh_anchor(shown, MeasuredStates(flat(500_000 + anchor.LEAPT)), 1)
    assert refreshed.states == (*shown.states, ShownState(1, flat(500_000 + anchor.LEAPT)))


def test_an_order_is_shown_though_nothing_moved() -> None:
    shown = Anchor(1, (ShownState(0, flat(500_000)),))
    ordered = anchor.refresh_anchor(shown, MeasuredStates(flat(500_000)), 1, ordered=True)
    assert ordered.states[-1].reminder


def test_when_there_are_too_many_states_the_newest_stands_alone() -> None:
    full = Anchor(1, tuple(ShownState(seq, flat(0)) for seq in range(anchor.STATES_LIMIT)))
    assert anchor.refresh_anchor(full, MeasuredStates(flat(UNIT)), 99).states == (
        ShownState(99, flat(UNIT)),
    )


def test_a_vector_of_zeros_is_known_and_not_taken_for_a_missing_one() -> None:
    shown = Anchor(1, (ShownState(0, flat(UNIT), source=StateSource.EARLIER),))
    state = anchor.compact_anchor(shown, MeasuredStates(flat(0)), 9, 5).states[0]
    assert (state.character, state.source) == (flat(0), StateSource.HERE)


def test_a_reminder_outlives_a_shorter_history() -> None:
    reminded = Anchor(1, (ShownState(3, flat(0), reminder=True),))
    compacted = anchor.compact_anchor(reminded, MeasuredStates(), 40, 21)
    assert (compacted.kept_from, compacted.version) == (21, 2)
    assert compacted.states == (ShownState(40, flat(0), reminder=True),)


def test_memories_stand_in_what_is_kept_by_id_and_last_message() -> None:
    remembered = Anchor(1, memories=(RecalledConversation(ConversationId(UUID(int=7)), 12),))
    assert remembered.to_json()["memories"] == [[f"{UUID(int=7)}", 12]]
