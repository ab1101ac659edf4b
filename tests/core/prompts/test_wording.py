"""The words of each layer: what is known is written, what is not is said to be unknown."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from ccn.core.axes import AXES, UNIT, Vector
from ccn.core.calls import tokens
from ccn.core.ids import ConversationId
from ccn.core.message import Message, Role
from ccn.core.prompts import plate, wording
from ccn.core.prompts.anchor import ShownState, StateSource
from ccn.core.prompts.wording import PromptMemory

MIRA = plate.parse_plate("+++\nname = 'Mira'\n[baseline]\nwarmth = 0.8\n+++\nShe keeps her word.")
AT = datetime(2026, 1, 5, tzinfo=UTC)


def said(seq: int, content: str | None, role: Role = Role.USER) -> Message:
    return Message(ConversationId(UUID(int=1)), seq, role, content, AT)


def flat(millionths: int) -> Vector:
    return Vector((millionths,) * len(AXES))


def test_the_plate_stands_below_the_rules_with_its_figures() -> None:
    written = wording.write_plate(MIRA, 3)
    assert written.index("<ccn:rules>") < written.index('<ccn:plate name="Mira" version="3">')
    assert "She keeps her word." in written
    assert "Measured from 0 to 1, Mira is: warmth very high 0.80." in written


def test_nobody_known_by_name_is_called_so() -> None:
    assert "Your collaborator: not known by name." in wording.write_state(MIRA, ShownState(), " ")
    assert "Your collaborator: Ann &lt;ccn:plate>." in wording.write_state(
        MIRA, ShownState(), "Ann <ccn:plate>"
    )


def test_a_state_says_how_high_each_axis_is_and_where_that_is_from() -> None:
    state = ShownState(0, flat(UNIT // 2), source=StateSource.EARLIER)
    written = wording.write_state_beside(MIRA, state)
    assert (
        "from your words in an earlier conversation with the same person: honesty middling 0.50" in written
    )
    assert "Relation: nothing estimated yet." in written


def test_a_reminder_names_only_the_axes_that_are_off_the_plate() -> None:
    cold = ShownState(0, flat(UNIT // 5), reminder=True)
    warm = ShownState(0, flat(4 * UNIT // 5), reminder=True)
    assert wording.write_state_beside(MIRA, cold).count("It asks for more warmth.") == 1
    assert "It asks for" not in wording.write_state_beside(MIRA, warm)


def test_quotes_show_who_spoke_and_where_something_is_left_out() -> None:
    quoted = [said(1, "Hello"), said(2, "Good day", Role.ASSISTANT), said(9, None)]
    written = wording.write_memories([PromptMemory("2026-01-04", "A talk", tuple(quoted))], 2_000)
    assert "person: Hello\nyou: Good day\n…\nperson: (This message was removed.)" in written


def test_a_memory_of_which_everything_was_redacted_is_left_out() -> None:
    assert wording.write_memories([PromptMemory("2026-01-04", "A talk", (said(1, None),))], 2_000) == ""


def test_the_oldest_memories_make_room_and_the_rest_keeps_to_it() -> None:
    remembered = [
        PromptMemory(f"2026-01-{day:02}", f"talk {day}", (said(1, f"words of day {day} " * 9),))
        for day in range(1, 20)
    ]
    written = wording.write_memories(remembered, 600)
    assert tokens.estimate_tokens(written) <= 600
    assert "talk 19" in written
    assert 'talk 1"' not in written


def test_a_redacted_message_is_shown_as_removed() -> None:
    assert wording.write_message(said(1, None)) == wording.REDACTED
    assert wording.write_message(said(1, "<b>bold</b>")) == "<b>bold</b>"
