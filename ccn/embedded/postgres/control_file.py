"""What a data directory says of itself in `pg_control`, without a server.

Separate because nothing else tells a server that follows from one that leads before it takes connections.
The first fields lie at the same places in every version that CCN knows.
"""

from __future__ import annotations

import struct
from pathlib import Path

from ccn import errors
from ccn.embedded import folder

_FIELDS = struct.Struct("=QIIi")
_IN_PRODUCTION = 6


def leads(pgdata: Path) -> bool:
    """Whether the server that runs here takes writes. Of one that was killed it says what was before."""
    return _read_fields(pgdata)[3] == _IN_PRODUCTION


def read_system_identifier(pgdata: Path) -> int:
    """Return what all copies of one database have in common."""
    return _read_fields(pgdata)[0]


def _read_fields(pgdata: Path) -> tuple[int, int, int, int]:
    with folder.translate_refusals(pgdata):
        content = (pgdata / "global" / "pg_control").read_bytes()
    if len(content) < _FIELDS.size:
        raise errors.DataDirectoryUnusable(
            f"{pgdata}/global/pg_control is damaged: restore a backup, or move the folder away."
        )
    system, version, catalogue, state = _FIELDS.unpack_from(content)
    return system, version, catalogue, state
