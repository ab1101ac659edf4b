"""The prompt of a turn as it was sent, built once more from the record.

No prompt is stored, because the same plate, anchor and words make the same bytes on every node at any time.
Only what was redacted since is missing. Nothing is written here.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccn import errors
from ccn.core.calls.call import Call
from ccn.core.ids import ConversationId, TurnId
from ccn.core.prompts import prompt
from ccn.node.turns.plates import Plates
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations, prompt_sources, sent_prompts


@dataclass(frozen=True, slots=True)
class SentPrompt:
    """A turn, and what the model was asked in it."""

    turn: TurnId
    call: Call


async def rebuild_prompt(
    pool: Pool, plates: Plates, conversation: ConversationId, turn: TurnId | None = None
) -> SentPrompt:
    """Rebuild what was sent in this turn, or in the last turn of the conversation."""
    basis = await sent_prompts.find_basis(pool, conversation, turn)
    if basis is None:
        raise errors.NotFound("nothing was sent to the model yet")
    limits = plates.limit_call(basis.model)
    plate = await plates.load_plate(basis.character, basis.anchor.plate)
    name = await conversations.load_collaborator(pool, conversation)
    scene = await prompt_sources.load_scene(pool, conversation, basis.anchor, basis.seq, limits, name)
    return SentPrompt(basis.turn, prompt.build_call(plate, basis.anchor, scene, limits))
