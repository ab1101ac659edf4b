"""Names of conversations in public metrics: only who holds the key knows which conversation is meant.

The id of a conversation contains the time of its beginning, and everybody who once saw it knows it. So a
plain hash would tell them whose trust and consistency the metrics show.
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
