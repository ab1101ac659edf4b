"""Plates as one process reads them, and what a call by a plate may cost. Nothing here writes.

Separate from the prompts, because a process with doors alone shows prompts and builds none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ccn.core.bounded import Recent
from ccn.core.ids import CharacterId
from ccn.core.prompts import plate
from ccn.core.prompts.plate import Plate
from ccn.core.prompts.prompt import PromptLimits
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters

if TYPE_CHECKING:
    from ccn import settings

_PLATES_KEPT = 64


class Plates:
    """The plates, each read once: a version never changes."""

    def __init__(self, pool: Pool, claude: settings.ClaudeSettings) -> None:
        self._pool = pool
        self._claude = claude
        self._plates = Recent[tuple[CharacterId, int], Plate](_PLATES_KEPT)

    async def load_plate(self, character: CharacterId, version: int) -> Plate:
        """Load a version of a plate, taken apart."""
        known = self._plates.get((character, version))
        if known is None:
            stored = await characters.load_plate(self._pool, character, version)
            known = self._plates[character, version] = plate.parse_plate(stored.content)
        return known

    def choose_model(self, found: Plate) -> str:
        """Choose the model that speaks for a plate."""
        return found.model or self._claude.model

    def limit_call(self, model: str) -> PromptLimits:
        """Limit what a call may cost."""
        return PromptLimits(model, self._claude.max_tokens)
