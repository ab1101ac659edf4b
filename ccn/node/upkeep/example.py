"""Furnishing: a database without any character gets the example that comes with CCN.

So that somebody who has just started a first cluster finds somebody to talk with. Once there is a
character, whoever imported it, this does nothing any more.
"""

from __future__ import annotations

import asyncio
from importlib import resources

import structlog

from ccn import errors
from ccn.core.ids import CharacterId
from ccn.core.prompts import plate as plates
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters
from ccn.store.conversations.characters import PlateVersion
from ccn.store.writing.writer import Writer

log = structlog.get_logger(__name__)

EXAMPLE = CharacterId("wren")
BY = "ccn"
"""Who imported it, as the record says."""
_WITHIN_S = 5.0


async def import_example(pool: Pool, writer: Writer) -> PlateVersion | None:
    """Import the example where there is nobody; the node that does it says so, the others go on.

    A node whose database does not answer starts without it: serving comes first.
    """
    try:
        async with asyncio.timeout(_WITHIN_S), pool.try_alone("furnish") as alone:
            if not alone or await characters.list_characters(pool):
                return None
            content = read_example()
            name = plates.parse_plate(content).name
            made = await characters.import_plate(pool, writer, EXAMPLE, name, content, BY)
    except (errors.CCNError, TimeoutError) as failed:
        log.warning("no example imported", error=type(failed).__name__, reason=str(failed))
        return None
    log.info("example imported: there was no character", character=made.character)
    return made


def read_example() -> str:
    """The plate that ships with CCN."""
    return (resources.files("ccn") / "plates" / f"{EXAMPLE}.md").read_text(encoding="utf-8")
