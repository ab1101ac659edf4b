"""How large each kind of message can be, counted from what core allows, so that neither end guesses.

A limit is what the largest valid message needs, rounded up by the room of tags and lengths. Core would
refuse whatever is larger.
"""

from __future__ import annotations

from ccn.core.axes import AXES
from ccn.core.chain import owner_pseudonym
from ccn.core.chain.quorum import NODE_LIMIT
from ccn.core.chain.report import INSTANCE_LIMIT, LEAF_LIMIT
from ccn.core.ledger import commitment, merkle, note

NAME = 63
SIGNATURE = 64
DETAIL = 1_000
"""Characters of a refusal's sentence; longer ones are cut when they are sent."""

METHOD = 100
VERSION = 100
FRAME = 1 << 20
"""Bytes of one forwarded request or of one frame of its answer."""

_FIELD = 8  # tag and length of a field with up to 2 ** 28 bytes
_SMALL = 1 << 10  # a few numbers, names, hashes and a signature
_ROW = 16 + 8 + 4 * len(AXES) + owner_pseudonym.BYTES
_NUMBER = len(str(commitment.INTEGER_LIMIT))
_HEX = 2 * merkle.HASH_BYTES

HELLO = _SMALL
WHO = _SMALL
ASK = _SMALL
DECISION = _SMALL
MISSING = _SMALL
COSIGNATURE = _SMALL
VOTE = _SMALL
REFUSAL = 4 * DETAIL + _SMALL

# In the worst case every instance has a character, and so a roster, of its own.
REPORT = LEAF_LIMIT * merkle.HASH_BYTES + INSTANCE_LIMIT * (_ROW + NAME + 3 * _FIELD) + _SMALL

RULES = NODE_LIMIT * (NAME + _HEX + 2 * _FIELD) + 2 * _SMALL
HEADER = NODE_LIMIT * (NAME + 2 * _NUMBER + _FIELD) + 9 * (_HEX + 2 * _FIELD) + _SMALL
PROPOSAL = HEADER + RULES + NODE_LIMIT * (REPORT + _FIELD) + _SMALL

BLOCK = HEADER + RULES + NODE_LIMIT * (VOTE + _FIELD) + LEAF_LIMIT * merkle.HASH_BYTES + _SMALL
PAGE_BLOCKS = 100
"""Blocks on one page at most."""

PAGE = 8 * BLOCK
"""Bytes of a page: several of the largest blocks, or a hundred of usual ones."""

CREDENTIAL = 4_096
REASON = 4 * 500
QUESTION = 4 << 20
"""Bytes of what a gateway asks: a request of a client as large as may be, with every character escaped."""
ANSWER = 8 << 20
"""Bytes of one frame of the answer; a whole prompt is the largest."""
GATEWAY_QUESTION = QUESTION + METHOD + CREDENTIAL + REASON + _SMALL
FORWARDED = FRAME + METHOD + _SMALL
COSIGNATURE_DATA = 8 + SIGNATURE
NOTE_NAME = note.NOTE_LIMIT // note.SIGNATURE_LIMIT
