"""The example: a database without any character gets the plate that comes with CCN.

So a new cluster has a character to talk with. Once there is any character, this does nothing any more.
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
"""The name under which the record says who imported it."""
_WITHIN_S = 5.0


async def import_example(pool: Pool, writer: Writer) -> PlateVersion | None:
    """Import the example if there is no character. Return it at the node that did so, and None elsewhere.

    A node whose database does not answer starts without the example, because serving comes first.
    """
    try:
        async with asyncio.timeout(_WITHIN_S), pool.try_alone("furnish") as alone:
            if not alone or await characters.list_characters(pool):
                return None
            content = read_example()
            name = plates.parse_plate(content).name
            version = await characters.import_plate(pool, writer, EXAMPLE, name, content, BY)
    except (errors.CCNError, TimeoutError) as failed:
        log.warning("no example imported", error=type(failed).__name__, reason=str(failed))
        return None
    log.info("example imported: there was no character", character=version.character)
    return version


def read_example() -> str:
    """Return the plate that comes with CCN."""
    return (resources.files("ccn") / "plates" / f"{EXAMPLE}.md").read_text(encoding="utf-8")
