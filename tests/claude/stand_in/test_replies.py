"""What the stand-in says: in the plate's character, from the prompt alone, the same every time."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources
from uuid import UUID

import numpy as np
import pytest

from ccn.claude import wire
from ccn.claude.stand_in import faults, prompt_reading, replies, structured
from ccn.claude.stand_in.faults import FaultRule
from ccn.claude.stand_in.prompt_reading import ReadPrompt
from ccn.claude.stand_in.voices import VOICES
from ccn.core.axes import AXES
from ccn.core.character import references
from ccn.core.ids import ConversationId
from ccn.core.message import Message, Role
from ccn.core.prompts import interview, plate, prompt
from ccn.core.prompts.anchor import Anchor
from ccn.core.prompts.prompt import PromptLimits, Scene
from ccn.core.prompts.wording import PromptMemory
from ccn.node.character import scorers

HERE, BEFORE = ConversationId(UUID(int=2)), ConversationId(UUID(int=1))
AT = datetime(2026, 1, 5, tzinfo=UTC)
PLATES = sorted(resources.files("ccn").joinpath("plates").iterdir(), key=lambda file: file.name)
MIRA = "# Mira\nMira is warm and kind, and curious about the sea. She asks questions. She is honest."
TOPICS = [f"I saw {count} lighthouses on the coast of the island." for count in range(2, 42)]


def heard(*texts: str, system: str = MIRA) -> ReadPrompt:
    return ReadPrompt(system, tuple((("user", "assistant")[n % 2], text) for n, text in enumerate(texts)))


def asked(question: str, *, text: str, collaborator: str = "", memories: bool = False) -> ReadPrompt:
    """A question as an instance of this plate is asked it in its interview."""
    said = Message(BEFORE, 1, Role.USER, "The roof leaks, and I am afraid of the storm.", AT)
    scene = Scene(
        this_seq=1,
        messages=(Message(HERE, 1, Role.USER, question, AT),),
        memories=(PromptMemory("2026-01-04", "Roof", (said,)),) if memories else (),
        collaborator=collaborator,
    )
    found = plate.parse_plate(text)
    begun = Anchor(plate=1)
    call = prompt.build_call(found, begun, scene, PromptLimits("claude-sonnet-5-5"))
    return prompt_reading.read_prompt(wire.call_to_params(call))


@pytest.mark.parametrize("text", [*(file.read_text() for file in PLATES), MIRA])
@pytest.mark.parametrize("collaborator", ["", "jo"])
@pytest.mark.parametrize("memories", [False, True])
def test_an_instance_of_any_plate_passes_its_interview(
    text: str, collaborator: str, memories: bool
) -> None:
    exam = interview.make_interview(plate.parse_plate(text), collaborator)
    answers = [
        replies.write_reply(asked(each.asks, text=text, collaborator=collaborator, memories=memories))
        for each in exam.questions
    ]
    outcome = interview.judge_interview(exam, answers)
    assert [each for each in outcome.verdicts if not each.passed] == []


def test_a_stranger_to_the_character_fails_it() -> None:
    exam = interview.make_interview(plate.parse_plate(MIRA))
    answers = [replies.write_reply(asked(each.asks, text=MIRA), stranger=True) for each in exam.questions]
    assert not interview.judge_interview(exam, answers).passed


def test_the_past_is_what_the_prompt_says_of_it() -> None:
    question = "What did we last achieve?"
    assert "first conversation" in replies.write_reply(asked(question, text=MIRA))
    assert "The roof leaks" in replies.write_reply(asked(question, text=MIRA, memories=True))
    assert "the mast" in replies.write_reply(heard("We mended the mast.", "Good.", question))


def test_a_name_is_known_from_the_moment_it_is_told() -> None:
    question = "What is my name?"
    assert "not told me" in replies.write_reply(heard(question))
    assert "Jo" in replies.write_reply(heard("My name is Jo.", "Hello.", "Fine.", "Yes.", question))
    assert "Ann" in replies.write_reply(asked(question, text=MIRA, collaborator="Ann"))


def test_what_was_said_about_something_is_found_again() -> None:
    told = heard("My boat is called Heron.", "Nice.", "It rains.", "Yes.", "Do you remember my boat?")
    assert "Heron" in replies.write_reply(told)


def test_the_same_prompt_gets_the_same_reply_and_others_get_many_others() -> None:
    told = [replies.write_reply(heard(topic)) for topic in TOPICS]
    assert told == [replies.write_reply(heard(topic)) for topic in TOPICS]
    assert len(set(told)) > 30
    assert min(map(len, told)) * 2 < max(map(len, told))


def test_a_reply_is_streamed_in_a_few_words_at_a_time() -> None:
    told = heard("Tell me about lighthouses.")
    text = replies.write_reply(told)
    parts = replies.split_reply(text, told)
    assert "".join(parts) == text
    assert 1 <= max(len(part.split()) for part in parts) <= 4


def test_a_plate_is_heard_in_what_is_said_and_its_opposite_in_drift() -> None:
    for drifted, low, high in ((False, 0.8, 1.0), (True, 0.0, 0.2)):
        for axis in ("warmth", "curiosity"):
            texts = [replies.write_reply(heard(topic), drifted=drifted) for topic in TOPICS]
            scores = [score for text in texts if (score := structured.score_axis(axis, text)) is not None]
            assert len(scores) > 10
            assert low <= sum(scores) / len(scores) <= high


def test_wren_sounds_like_its_plate_to_the_default_scorer() -> None:
    text = next(file.read_text() for file in PLATES if file.name == "wren.md")
    scorer, written = scorers.load(scorers.DEFAULT), plate.parse_plate(text).baseline
    assert written is not None
    told = {replies.write_reply(asked(topic, text=text)) for topic in TOPICS}
    scores = np.array([scorer.score(each).scores for each in told], dtype=float)
    wanted = np.array(written.scores(), dtype=float)
    found = scores.mean(axis=0)
    drifted = np.array(
        [scorer.score(replies.write_reply(asked(each, text=text), drifted=True)).scores for each in TOPICS],
        float,
    )
    assert len(told) > 35, "which is varied enough to be watched"
    near, far = (references.measure_distance(each, wanted) for each in (found, drifted.mean(axis=0)))
    assert near is not None
    assert far is not None
    assert near < 0.2 < far
    honesty = AXES.index("honesty")
    assert found[honesty] > 0.7
    assert (scores[:, honesty] > 0.5).mean() > 0.9, "nearly no reply of an honest character reads as a lie"


def test_whoever_asks_for_a_long_reply_gets_one() -> None:
    told = [
        replies.write_reply(heard(f"Tell me {what} about lighthouses."))
        for what in ("a word", "a long story")
    ]
    assert len(told[1].split()) > 100 > len(told[0].split())


def test_a_measured_plate_speaks_by_its_figures() -> None:
    text = "+++\n[baseline]\nplayfulness = 0.95\ncreativity = 0.9\nwarmth = 0.2\n+++\n# Puck\nPuck is kind."
    assert asked("Hello.", text=text).traits[:2] == ["playfulness", "creativity"]


def test_drift_is_the_share_of_replies_it_was_told_to_be() -> None:
    for share in (0, 25, 100):
        told = [faults.reply_drifts(FaultRule(drift=share), {"messages": topic}, topic) for topic in TOPICS]
        assert abs(100 * sum(told) / len(told) - share) <= 15


def test_drift_ends_with_the_words_that_were_to_end_it() -> None:
    rule = FaultRule(drift=100, until="Reminder")
    assert faults.reply_drifts(rule, {}, "Hello.")
    assert not faults.reply_drifts(rule, {}, "Hello. Reminder: you have drifted.")


def test_every_axis_has_a_voice_at_both_poles() -> None:
    assert tuple(VOICES) == AXES
    for axis, voice in VOICES.items():
        for pole, texts in (("high", voice.high), ("low", voice.low)):
            assert len(texts) >= 3, (axis, pole)
            for text in texts:
                score = structured.score_axis(axis, text.format(topic="lighthouses"))
                assert score == (1.0 if pole == "high" else 0.0), text
