"""A prompt says the same bytes again, keeps within its budget, and belongs to nobody who talks in it."""

from __future__ import annotations

import itertools
import random
import re
import sys
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccn import errors
from ccn.core.axes import AXES, RELATIONAL, Vector, quantise_scores
from ccn.core.calls import tokens
from ccn.core.ids import ConversationId, TurnId
from ccn.core.message import Message, Role
from ccn.core.prompts import anchor as anchors
from ccn.core.prompts import markup, plate, prompt, wording
from ccn.core.prompts.anchor import Anchor, MeasuredStates, ShownState, StateSource
from ccn.core.prompts.prompt import PromptLimits, Scene
from ccn.core.prompts.wording import PromptMemory

if TYPE_CHECKING:
    from ccn.core.calls.call import Call

BODY = "# Mira\n" + "She keeps her word and says what she does not know. " * 80
MIRA = plate.parse_plate("+++\nname = 'Mira'\n[baseline]\nwarmth = 0.8\nhonesty = 0.9\n+++\n" + BODY)
LIMITS = PromptLimits("model-1")
HERE = ConversationId(UUID(int=1))
AT = datetime(2026, 1, 5, tzinfo=UTC)


def _said(seq: int, content: str | None, role: Role | None = None, turn: int | None = None) -> Message:
    role = role or (Role.USER if seq % 2 else Role.ASSISTANT)
    return Message(HERE, seq, role, content, AT, None if turn is None else TurnId(UUID(int=turn)))


def _talk(count: int, content: str = "some words") -> tuple[Message, ...]:
    return tuple(_said(seq, f"{content} {seq}") for seq in range(1, count + 1))


def _flat(value: float) -> Vector:
    return quantise_scores([value] * len(AXES))


def _sent(call: Call) -> bytes:
    """What a provider's cache compares: all but the marks."""
    return prompt.call_to_text(
        replace(
            call,
            system=tuple(replace(block, mark=False) for block in call.system),
            messages=tuple(replace(said, mark=False) for said in call.messages),
        )
    ).encode()


def _same(before: bytes, after: bytes) -> int:
    """The length of the prefix they have in common."""
    low, high = 0, min(len(before), len(after))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if before[:middle] == after[:middle] else (low, middle - 1)
    return low


class _Conversation:
    """Fifty turns as they come: words of any length, and scores that wander as smoothed scores do."""

    def __init__(self, seed: int, limits: PromptLimits) -> None:
        self.chance, self.limits = random.Random(seed), limits
        self.anchor, self.said = Anchor(1, (ShownState(0, _flat(0.5)),)), list[Message]()
        self.scores = [0.5] * 23
        self.centre = [self.chance.uniform(0.3, 0.8) for _ in self.scores]

    def turn(self) -> Call:
        self.say(self.chance.randint(10, 500))
        scene = self._scene()
        anchor = prompt.update_anchor(MIRA, self.anchor, scene, self._measured(), self.limits)
        if anchor is not self.anchor:
            assert anchor.version == self.anchor.version + 1
            self.anchor, scene = anchor, replace(scene, messages=self._loaded(anchor))
        call = prompt.build_call(MIRA, anchor, scene, self.limits)
        self.say(self.chance.randint(100, 1_500))
        return call

    def say(self, length: int) -> None:
        text = " ".join(
            self.chance.choices(["house", "a", "remember", "of", "quick, ", "7"], k=length // 5)
        )
        self.said.append(_said(len(self.said) + 1, text or "yes"))

    def _scene(self) -> Scene:
        memory = PromptMemory("2026-01-04", "Before", (_said(1, "then"), _said(2, "indeed")))
        return Scene(self.said[-1].seq, self._loaded(self.anchor), (memory,), "Bo")

    def _loaded(self, anchor: Anchor) -> tuple[Message, ...]:
        places = prompt.places_to_quote(anchor.kept_from)
        return tuple(each for each in self.said if each.seq >= anchor.kept_from or each.seq in places)

    def _measured(self) -> MeasuredStates:
        raw = [min(1, max(0, self.chance.gauss(centre, 0.15))) for centre in self.centre]
        self.scores = [0.9 * old + 0.1 * new for old, new in zip(self.scores, raw, strict=True)]
        return MeasuredStates(
            quantise_scores(self.scores[:16]), quantise_scores(self.scores[16:], RELATIONAL)
        )


def _stability(limits: PromptLimits, seeds: range) -> list[float]:
    shares = []
    for seed in seeds:
        conversation, before, same, total = _Conversation(seed, limits), b"", 0, 0
        for _ in range(50):
            now = _sent(conversation.turn())
            if before:
                same, total = same + _same(before, now), total + len(now)
            before = now
        shares.append(same / total)
    return shares


def test_over_fifty_turns_nearly_all_bytes_repeat_the_turn_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ample = _stability(LIMITS, range(8))
    tight = _stability(PromptLimits("model-1", budget=12_000), range(8))
    with capsys.disabled():
        sys.stdout.write(
            f"\nprompt bytes that repeat the previous turn's prefix, 50 turns, least of 8 conversations: "
            f"{min(ample):.1%}, with a budget that compacts: {min(tight):.1%}\n"
        )
    assert min(ample) >= 0.95
    assert min(tight) >= 0.80


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(12_000, 60_000))
def test_every_prompt_has_the_whole_plate_first_and_keeps_the_budget(seed: int, budget: int) -> None:
    conversation = _Conversation(seed, PromptLimits("model-1", budget=budget))
    for _ in range(50):
        call = conversation.turn()
        assert MIRA.body in call.system[0].text
        assert sum(block.mark for block in call.system) + sum(said.mark for said in call.messages) <= 4
        assert call.messages[0].role is Role.USER
        texts = [block.text for block in call.system] + [said.text for said in call.messages]
        assert sum(map(tokens.estimate_tokens, texts)) <= budget


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_another_node_builds_the_same_from_what_is_kept(seed: int) -> None:
    conversation = _Conversation(seed, PromptLimits("model-1", budget=14_000))
    for _ in range(30):
        conversation.turn()
    kept = conversation.anchor
    restored = anchors.anchor_from_json(kept.plate, kept.kept_from, kept.version, kept.to_json())
    assert restored == kept
    conversation.say(20)
    scene = conversation._scene()
    assert prompt.build_call(MIRA, kept, scene, LIMITS) == prompt.build_call(MIRA, restored, scene, LIMITS)


def test_marks_end_the_plate_the_state_the_memories_and_the_history() -> None:
    memory = PromptMemory("2026-01-04", "", _talk(2))
    call = prompt.build_call(MIRA, Anchor(1), Scene(5, _talk(5), (memory,)), LIMITS)
    assert [block.mark for block in call.system] == [True, True, True]
    assert [said.mark for said in call.messages] == [False, False, False, True, False]


def test_compaction_is_rare_and_takes_half() -> None:
    conversation = _Conversation(1, PromptLimits("model-1", budget=12_000))
    places = []
    for _ in range(50):
        conversation.turn()
        places.append(conversation.anchor.kept_from)
    changes = sum(a != b for a, b in itertools.pairwise(places))
    assert 1 <= changes <= 50 / 4


def test_what_left_the_history_is_quoted() -> None:
    said = _talk(101)
    call = prompt.build_call(MIRA, Anchor(1, kept_from=61), Scene(101, said), LIMITS)
    quoted = call.system[-1].text
    assert "person: some words 1\n" in quoted
    assert "you: some words 60\n" in quoted
    assert call.messages[0].text == "some words 61"


@given(st.integers(1, 5_000))
def test_quotes_are_of_what_left_the_history_and_not_too_many(kept_from: int) -> None:
    places = prompt.places_to_quote(kept_from)
    assert list(places) == sorted(set(places))
    assert len(places) == min(kept_from - 1, wording.EARLIER_LIMIT)
    assert all(1 <= place < kept_from for place in places)


def test_a_reply_follows_its_message_although_others_were_queued() -> None:
    said = (
        _said(1, "first", Role.USER, 1),
        _said(2, "second", Role.USER, 2),
        _said(3, "third", Role.USER, 3),
        _said(4, "to first", Role.ASSISTANT, 1),
        _said(5, "to second", Role.ASSISTANT, 2),
    )
    call = prompt.build_call(MIRA, Anchor(1), Scene(3, said), LIMITS)
    assert [each.text for each in call.messages] == ["first", "to first", "second", "to second", "third"]
    call = prompt.build_call(MIRA, Anchor(1), Scene(2, said[:4]), LIMITS)
    assert [each.text for each in call.messages] == ["first", "to first", "second"]
    call = prompt.build_call(MIRA, Anchor(1, kept_from=2), Scene(3, said), LIMITS)
    assert [each.text for each in call.messages] == ["second", "to second", "third"]


def test_a_conversation_that_an_assistant_began_begins_with_the_user_all_the_same() -> None:
    said = (_said(1, "Welcome.", Role.ASSISTANT), _said(2, "Hello.", Role.USER))
    call = prompt.build_call(MIRA, Anchor(1), Scene(2, said), LIMITS)
    assert [each.role for each in call.messages] == [Role.USER, Role.ASSISTANT, Role.USER]


def test_a_redacted_message_is_shown_as_removed_and_cannot_be_answered() -> None:
    said = (_said(1, None), _said(2, "yes"), _said(3, "and?"))
    assert prompt.build_call(MIRA, Anchor(1), Scene(3, said), LIMITS).messages[0].text == wording.REDACTED
    with pytest.raises(errors.InputInvalid, match="message 1 cannot be answered"):
        prompt.build_call(MIRA, Anchor(1), Scene(1, said), LIMITS)


def test_a_message_too_long_for_any_prompt_is_refused_before_it_is_accepted() -> None:
    room = prompt.room_for_talk(MIRA, LIMITS)
    prompt.check_message(MIRA, "word " * (room // 2), LIMITS)
    with pytest.raises(errors.MessageTooLong, match=r"about .* tokens of"):
        prompt.check_message(MIRA, "word " * room, LIMITS)


def test_the_longest_message_allowed_fits_beside_everything_else() -> None:
    limits = PromptLimits("model-1", budget=16_000)
    long = "é" * (prompt.room_for_talk(MIRA, limits) - tokens.PER_BLOCK)
    prompt.check_message(MIRA, long, limits)
    said = (*_talk(400, "x" * 300), _said(401, long))
    memories = tuple(PromptMemory("2026-01-04", "t" * 500, _talk(4, "y" * 900)) for _ in range(8))
    odd = MeasuredStates(quantise_scores([0.123456] * 16), quantise_scores([0.654321] * 7, RELATIONAL))
    scene = Scene(401, said, memories, "B" * 500)
    anchor = prompt.update_anchor(MIRA, Anchor(1), scene, odd, limits, ordered=True)
    anchor = replace(anchor, states=(*anchor.states, replace(anchor.states[0], seq=401)))
    call = prompt.build_call(MIRA, anchor, scene, limits)
    texts = [block.text for block in call.system] + [each.text for each in call.messages]
    assert sum(map(tokens.estimate_tokens, texts)) <= limits.budget
    assert len(call.messages) == 1


def test_a_plate_that_leaves_no_room_to_talk_is_refused() -> None:
    with pytest.raises(errors.PlateInvalid, match="no room to talk"):
        prompt.room_for_talk(plate.parse_plate("# Mira\n" + "word " * 50_000), LIMITS)


# Which state is shown


def test_a_state_that_hardly_moved_is_not_shown_again() -> None:
    anchor = Anchor(1, (ShownState(0, _flat(0.5)),))
    assert anchors.refresh_anchor(anchor, MeasuredStates(_flat(0.59)), 99) is anchor
    assert anchors.refresh_anchor(anchor, MeasuredStates(_flat(0.7)), 19) is anchor
    moved = anchors.refresh_anchor(anchor, MeasuredStates(_flat(0.7)), 21)
    assert [state.seq for state in moved.states] == [0, 21]
    assert anchors.refresh_anchor(moved, MeasuredStates(_flat(0.5)), 23) is moved
    assert len(anchors.refresh_anchor(moved, MeasuredStates(_flat(0.4)), 23).states) == 3


def test_a_prompt_says_where_each_estimate_is_from_and_it_is_true() -> None:
    begun = ShownState(0, _flat(0.5), source=StateSource.AGREED)
    anchor = Anchor(1, (begun, ShownState(2, _flat(0.2))))
    call = prompt.build_call(MIRA, anchor, Scene(3, _talk(3)), LIMITS)
    above, beside = call.system[1].text, call.messages[-1].text
    assert "Character, as agreed last over the instances that speak with several people: honesty" in above
    assert "Relation: nothing estimated yet." in above
    assert "Character, from the words of this conversation: honesty" in beside
    unmeasured = anchors.compact_anchor(Anchor(1, (begun,)), MeasuredStates(), 9, 5).states[0]
    assert (unmeasured.character, unmeasured.source) == (begun.character, StateSource.AGREED)
    measured = anchors.compact_anchor(Anchor(1, (begun,)), MeasuredStates(_flat(0.4)), 9, 5).states[0]
    assert (measured.character, measured.source) == (_flat(0.4), StateSource.HERE)


def test_a_conversation_that_began_with_the_state_of_a_stranger_shows_it_no_longer() -> None:
    """So the first version kept it; what came later was the conversation's own."""
    flat = list(_flat(0.9).millionths)
    kept = {"states": [[0, flat, None, False], [7, flat, None, True]], "memories": []}
    began, later = anchors.anchor_from_json(1, 1, 2, kept).states
    assert began == ShownState()
    assert later == ShownState(7, _flat(0.9), reminder=True)


def test_what_is_not_known_any_more_has_not_moved() -> None:
    anchor = Anchor(1, (ShownState(0, _flat(0.9), quantise_scores([0.2] * 7, RELATIONAL)),))
    assert anchors.refresh_anchor(anchor, MeasuredStates(), 99) is anchor
    some = quantise_scores([0.9 if axis == "rigor" else None for axis in AXES])
    assert anchors.refresh_anchor(anchor, MeasuredStates(some), 99) is anchor
    told = anchors.refresh_anchor(anchor, MeasuredStates(), 99, ordered=True).states[-1]
    assert (told.character, told.relational) == (_flat(0.9), anchor.states[0].relational)


def test_a_state_stands_beside_words_of_the_user_never_of_the_assistant() -> None:
    anchor = Anchor(1, (ShownState(), ShownState(2, _flat(0.2))))
    call = prompt.build_call(MIRA, anchor, Scene(3, _talk(3)), LIMITS)
    assert ["<ccn:state>" in each.text for each in call.messages] == [False, False, True]
    later = prompt.build_call(MIRA, anchor, Scene(5, _talk(5)), LIMITS)
    assert [each.text for each in later.messages[:3]] == [each.text for each in call.messages]
    early = prompt.build_call(MIRA, Anchor(1, (ShownState(), ShownState(9))), Scene(3, _talk(3)), LIMITS)
    assert "<ccn:state>" not in early.messages[-1].text


def test_an_order_shows_the_state_at_once_and_the_way_back_to_the_plate() -> None:
    cold = MeasuredStates(quantise_scores([0.9 if axis == "honesty" else 0.2 for axis in AXES]))
    anchor = prompt.update_anchor(MIRA, Anchor(1), Scene(3, _talk(3)), cold, LIMITS, ordered=True)
    this = prompt.build_call(MIRA, anchor, Scene(3, _talk(3)), LIMITS).messages[-1].text
    assert "Reminder: you have drifted" in this
    assert "It asks for more warmth." in this
    assert this.endswith("</ccn:state>\nsome words 3")
    again = anchors.refresh_anchor(anchor, MeasuredStates(_flat(0.8)), 40)
    assert not again.states[-1].reminder


def test_states_beside_messages_are_not_many() -> None:
    anchor = Anchor(1)
    for turn in range(1, 100):
        anchor = anchors.refresh_anchor(anchor, MeasuredStates(_flat(turn % 2)), turn)
        assert 1 <= len(anchor.states) <= anchors.STATES_LIMIT


# Whose words they are

_MARKS = (
    "<ccn:",
    "</ccn:state>",
    "< / C C N :",
    "＜ccn：",
    "<\u200bcc\u00adn:",
    "<",
    "ccn:",
    "ｃｃｎ:",
    "</",
)
ODD = st.lists(st.sampled_from(_MARKS) | st.text(max_size=5), max_size=12).map("".join)


def _seen(text: str) -> str:
    """The text as somebody sees it who overlooks what is hard to see."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in plain if not c.isspace() and unicodedata.category(c) not in {"Cf", "Mn"})


@given(ODD)
def test_nobody_can_write_the_mark_of_a_layer(said: str) -> None:
    shown = markup.escape_marks(said)
    assert not re.search("</*ccn:", _seen(shown))
    assert markup.escape_marks(shown) == shown


@given(ODD, ODD, ODD)
def test_what_people_say_neither_opens_nor_closes_a_layer(said: str, title: str, name: str) -> None:
    content = said.replace("\x00", "") + "."
    memory = PromptMemory("2026-01-04", title, (_said(1, content), _said(2, content)))
    talk = tuple(_said(seq, content) for seq in range(1, 10))
    scene = Scene(9, talk, (memory,), name)
    call = prompt.build_call(MIRA, Anchor(1, kept_from=5), scene, LIMITS)
    tame = Scene(9, _talk(9), (PromptMemory("2026-01-04", "t", _talk(2)),), "Bo")
    for block, other in zip(  # noqa: B905 - the memories differ
        call.system, prompt.build_call(MIRA, Anchor(1, kept_from=5), tame, LIMITS).system
    ):
        assert block.text.count("<ccn:") == other.text.count("<ccn:")
        assert block.text.count("</ccn:") == other.text.count("</ccn:")
    assert all("<ccn:" not in each.text for each in call.messages)


def test_other_markup_stays_as_it_was_written() -> None:
    html = '<div class="ccn">a &lt; b && c < d</div> <CC> <con:'
    assert markup.escape_marks(html) == html


def test_a_quote_is_one_line() -> None:
    assert markup.quote_beginning("one\nyou: two\r\n\tthree", 200) == "one you: two three"
    assert markup.quote_beginning("word " * 100, 20) == "word word word word…"


# Estimates

_PIECES = re.compile(r"[A-Za-z]+|[0-9]|[ ]+|[^\x00-\x7f]|.", re.DOTALL)


def _counted(text: str) -> int:
    """A tokenizer that knows pieces of four letters, and every other character by itself."""
    count = 0
    for piece in _PIECES.findall(text):
        if piece[0].isascii() and piece[0].isalpha():
            count += -(-len(piece) // 4)
        elif piece[0] == " ":
            count += len(piece) > 1
        else:
            count += max(1, len(piece.encode(errors="surrogatepass")) - 1)
    return count


@given(st.text(st.sampled_from("ab z.,\n9é中😀"), max_size=80) | st.text(max_size=200))
def test_an_estimate_is_never_below_a_real_count(text: str) -> None:
    assert _counted(text) <= tokens.estimate_tokens(text) <= tokens.bound_tokens(text)


def test_an_estimate_of_prose_is_not_far_above() -> None:
    prose = "She keeps her word, and says so when she does not know what to say about a matter. " * 50
    assert 0.2 <= tokens.estimate_tokens(prose) / len(prose) <= 0.4


def test_a_prompt_is_shown_as_it_is_sent() -> None:
    call = replace(prompt.build_call(MIRA, Anchor(1), Scene(3, _talk(3)), LIMITS), temperature=0.5)
    shown = prompt.call_to_text(call)
    assert shown.startswith("model model-1 · at most 4096 tokens · temperature 0.5\n\n[system · mark]\n")
    for text in [*(block.text for block in call.system), *(said.text for said in call.messages)]:
        assert text in shown
    assert "\n[assistant · mark]\nsome words 2\n\n[user]\nsome words 3\n" in shown
