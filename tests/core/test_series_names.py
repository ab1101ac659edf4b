"""What a conversation is called where anybody looks: the same everywhere, and nothing of its id."""

from __future__ import annotations

from uuid import UUID

from ccn.core import series_names
from ccn.core.ids import ConversationId

HERE = ConversationId(UUID("01983f0e-7c1a-7d2e-b1f4-5a0c6f2d9e31"))


def test_a_name_is_the_beginning_of_a_keyed_hash() -> None:
    """HMAC-SHA256 as `openssl dgst -mac hmac` has it, over the sixteen bytes of the id."""
    assert series_names.name_series(bytes(range(32)), HERE) == "87123b134fa9595c"


def test_another_key_or_conversation_has_another_name() -> None:
    names = {
        series_names.name_series(bytes([n]) * 32, ConversationId(UUID(int=m)))
        for n in range(20)
        for m in range(20)
    }
    assert len(names) == 400
