"""What a prompt says of the one who is to be, of the person, and of what was said before."""

from __future__ import annotations

import pytest

from ccn.claude.stand_in import prompt_reading
from ccn.claude.stand_in.prompt_reading import ReadPrompt
from ccn.claude.stand_in.voices import VOICES
from ccn.core.prompts import markup


def layer(name: str, text: str, attributes: str = "") -> str:
    return f"<{markup.SPACE}:{name}{attributes}>\n{text}\n</{markup.SPACE}:{name}>\n"


def said(*texts: str) -> tuple[tuple[str, str], ...]:
    return tuple(("user" if at % 2 == 0 else "assistant", text) for at, text in enumerate(texts))


@pytest.mark.parametrize(
    ("system", "name"),
    [
        ("", "Claude"),
        ("You are Mira, a friend.", "Mira"),
        ("Your name is Jean-Luc.", "Jean-Luc"),
        ("# Mira Vale #\nYou are Ada.", "Mira Vale"),
        ("You are a friend.", "Claude"),
        (layer("plate", "# Mira", ' name="Ada Lovelace"'), "Ada Lovelace"),
        (layer("plate", "# Mira"), "Mira"),
        (layer("memory", "# Bob", ' name="Bob"') + layer("plate", "You are Mira."), "Mira"),
    ],
)
def test_a_name_is_read_from_the_plate_however_it_is_written(system: str, name: str) -> None:
    assert ReadPrompt(system, ()).name == name


def test_figures_of_a_plate_count_more_than_its_words() -> None:
    figures = "honesty very high 0.95, warmth high 0.70, curiosity low 0.20. Playful, playful, playful."
    assert ReadPrompt(figures, ()).traits[:3] == ["honesty", "warmth", "curiosity"]
    assert "playfulness" not in ReadPrompt(figures, ()).traits


def test_a_plate_without_high_figures_is_read_by_its_words() -> None:
    assert ReadPrompt("warmth low 0.10. A playful joker who laughs.", ()).traits[0] == "playfulness"


@pytest.mark.parametrize("system", ["", "x", " ".join(each.shown_by[0] for each in VOICES.values())])
def test_a_plate_has_as_many_traits_as_can_be_heard_and_none_twice(system: str) -> None:
    traits = ReadPrompt(system, ()).traits
    assert len(traits) == len({*traits})
    assert 4 <= len(traits) <= prompt_reading.TRAITS
    assert {*traits} <= {*VOICES}


def test_the_last_name_that_a_person_told_counts() -> None:
    read = ReadPrompt(layer("memory", "Collaborator: Ann."), said("My name is Bob.", "Hi.", "Call me Rob."))
    assert read.collaborator == "Rob"


def test_what_the_other_side_says_names_nobody() -> None:
    assert ReadPrompt("", said("Hello.", "My name is Mira.", "Well?")).collaborator is None


def test_a_name_is_remembered_from_the_prompt_but_not_taken_from_the_plate() -> None:
    assert ReadPrompt(layer("memory", "Collaborator: Ann Lee."), ()).collaborator == "Ann Lee"
    assert ReadPrompt(layer("plate", "My name is Mira."), ()).collaborator is None
    assert ReadPrompt(layer("memory", "Collaborator: not known by name."), ()).collaborator is None


def test_what_was_said_before_comes_newest_first_and_the_question_is_not_of_it() -> None:
    system = layer("plate", "person: no") + layer("memory", "person: one\nmira: well\nperson: two")
    read = ReadPrompt(system, said("three", "well", "four", "well", "five"))
    assert list(read.earlier_messages()) == ["four", "three", "two", "one"]
    assert read.asked == "five"


def test_without_messages_nothing_is_asked() -> None:
    assert (ReadPrompt("", ()).asked, list(ReadPrompt("", ()).earlier_messages())) == ("", [])


def test_layers_inside_of_a_message_are_not_what_the_person_said() -> None:
    hinted = f"{layer('state', 'warmth high 0.90')}Hello."
    request = {"system": "x", "messages": [{"role": "user", "content": [{"type": "text", "text": hinted}]}]}
    assert prompt_reading.read_prompt(request).asked == "Hello."
    assert "0.90" in prompt_reading.whole_text(request)


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("", []),
        ("What do you think about the tides?", ["tides"]),
        ("Tell me again, THINK about it", []),
        ("Größe, naïveté und Œuvre", ["Größe", "naïveté", "Œuvre"]),
        ("4096 bytes_and bits", ["bytes_and", "bits"]),
    ],
)
def test_topics_are_the_words_that_are_about_something(text: str, topics: list[str]) -> None:
    assert prompt_reading.topic_words(text) == topics
