"""What a message may contain: anything that PostgreSQL, JSON and a model can all hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core import message
from ccn.core.message import Role


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_a_text_passes_unchanged_unless_it_is_blank(text: str) -> None:
    if text.strip():
        assert message.check_content(text) == text
    else:
        with pytest.raises(errors.InputInvalid, match="empty"):
            message.check_content(text)


@given(before=st.text(max_size=5), after=st.text(max_size=5), half=st.integers(0xD800, 0xDFFF))
def test_half_of_a_surrogate_pair_is_refused(before: str, after: str, half: int) -> None:
    text = before.replace("\x00", "") + "a" + chr(half) + after.replace("\x00", "")
    with pytest.raises(errors.InputInvalid, match="surrogate"):
        message.check_content(text)


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u2003"])
def test_blank_is_empty(text: str) -> None:
    with pytest.raises(errors.InputInvalid, match="empty"):
        message.check_content(text)


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "é\x00"])
def test_a_nul_character_is_refused(text: str) -> None:
    with pytest.raises(errors.InputInvalid, match="NUL"):
        message.check_content(text)


def test_the_limit_counts_characters() -> None:
    assert message.check_content("é" * message.CONTENT_LIMIT)
    with pytest.raises(errors.InputInvalid, match=str(message.CONTENT_LIMIT)):
        message.check_content("é" * (message.CONTENT_LIMIT + 1))


def test_roles_are_spelled_as_the_model_spells_them() -> None:
    assert [role.value for role in Role] == ["user", "assistant"]
