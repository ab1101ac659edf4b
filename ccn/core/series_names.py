"""The names of series that anybody may see: only who holds the key knows which conversation one is about.

An id of a conversation holds the moment of its beginning, and is no secret to whoever once saw it; so a
plain hash would say whose trust and consistency a scraper sees.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from ccn.core.ids import ConversationId

DIGITS: Final = 16
"""64 bits: of a hundred names at a node no two are ever the same."""


def name_series(key: bytes, conversation: ConversationId) -> str:
    """What a conversation is called in metrics; the same on every node of a cluster."""
    return hmac.new(key, conversation.bytes, hashlib.sha256).hexdigest()[:DIGITS]
