"""Which language a text is taken for: by its script, or else by its most common short words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn.core import language

SENTENCES = {
    "english": "We can talk about what you have seen, and it will not be long.",
    "german": "Ich weiß nicht, was du mit dem Buch auf dem Tisch machst.",
    "french": "Je ne sais pas ce que vous avez dans la maison, mais elle est belle.",
    "spanish": "No sé lo que tú has visto en la casa, pero es muy bonita.",
    "italian": "Non so che cosa ci sia nella casa, ma è molto bella per me.",
    "finnish": "Minä en ole siellä, mutta hän oli kuin kotona ja se on hyvä.",
    "turkish": "Bu ne kadar güzel bir şey, ama ben o kadar çok bilmiyorum.",
    "russian": "Я не знаю, что ты видел в этом доме.",
    "greek": "Δεν ξέρω τι είδες σε αυτό το σπίτι.",
    "arabic": "لا أعرف ماذا رأيت في هذا البيت",
    "hindi": "मुझे नहीं पता कि तुमने क्या देखा",
}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_plain_sentence_is_known_by_its_language(name: str) -> None:
    assert language.detect_language(SENTENCES[name]) == name


@pytest.mark.parametrize("text", ["我不知道你看到了什么", "私はそれを知りません", "ฉันไม่รู้"])
def test_a_script_without_a_stemmer_is_searched_without_one(text: str) -> None:
    assert language.detect_language(text) == language.SIMPLE


def test_a_few_foreign_letters_do_not_decide_over_the_words() -> None:
    assert language.detect_language("The letter Σ is what we have for the sum of it.") == "english"


@pytest.mark.parametrize("text", ["", "12345 !!!", "Xylophon"])
def test_a_text_that_shows_nothing_is_taken_for_english(text: str) -> None:
    assert language.detect_language(text) == "english"


@given(st.text(max_size=300))
def test_every_text_has_a_language_that_the_database_knows(text: str) -> None:
    assert language.detect_language(text) in language.LANGUAGES


def test_only_the_beginning_of_a_long_text_is_looked_at() -> None:
    text = SENTENCES["german"] * 60 + SENTENCES["english"] * 6_000
    assert language.detect_language(text) == "german"
