"""Which of the two servers of a pair is the primary, and whether the other has everything: on the disk.

Separate because it is what a promotion rests on. It is written before a role changes: a server that this
file does not name never leads, whatever its data say, and nobody is promoted who might lack something.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ccn import errors
from ccn.embedded import folder

FIRST, SECOND = "postgres", "postgres-2"
"""The folders of the two, and what each calls itself at the other."""
RECORD = "postgres-pair.json"


@dataclass(frozen=True, slots=True)
class PairRecord:
    """The name of the primary; `in_step` while the other has all that was acknowledged."""

    primary: str = FIRST
    in_step: bool = False
    failovers: int = 0

    @property
    def standby(self) -> str:
        """The name of the other."""
        return SECOND if self.primary == FIRST else FIRST


def read_record(place: Path) -> PairRecord:
    """Read what the folder of a cluster says; one that never had a pair has its primary in the first."""
    file = place / RECORD
    try:
        found = PairRecord(**json.loads(file.read_text()))
    except FileNotFoundError:
        return PairRecord()
    except (OSError, ValueError, TypeError) as unreadable:
        raise errors.DataDirectoryUnusable(
            f"{file} cannot be read ({unreadable}), and it says which of {FIRST} and {SECOND} beside it is "
            "the primary. The one with the newest data is; write its name there as "
            f'{{"primary": "{FIRST}"}}.'
        ) from unreadable
    if found.primary not in {FIRST, SECOND}:
        raise errors.DataDirectoryUnusable(f"{file} names {found.primary}, not {FIRST} or {SECOND}")
    return found


def write_record(place: Path, record: PairRecord) -> None:
    """Write it, flushed when this returns."""
    with folder.translate_refusals(place):
        folder.replace_file(place / RECORD, json.dumps(asdict(record)) + "\n", 0o600)


def find_primary_alone(place: Path) -> Path:
    """Find the folder to run alone, without a standby, which falls behind from here on."""
    record = read_record(place)
    if record.in_step:
        write_record(place, PairRecord(record.primary, in_step=False, failovers=record.failovers))
    return place / record.primary
