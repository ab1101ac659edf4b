"""Baselines: the raw scores by which a character is known when it is well, per scorer and model.

What is kept is what was observed; thresholds follow from it by rule and seed, so anybody can recompute
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from ccn.core.axes import AXES, UNIT, Vector
from ccn.core.character.gaussian import Samples
from ccn.core.ids import CharacterId
from ccn.store.connection.pool import Pool, Record

_UNSEEN = -1


class BaselineKind(StrEnum):
    """What a baseline was observed on."""

    MESSAGES = "messages"
    PROBES = "probes"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Scores of a healthy character, one row a message or an answer."""

    character: CharacterId
    kind: BaselineKind
    scorer: str
    model: str
    made_at: datetime
    plate_version: int
    seed: int
    scores: Samples
    owners: int | None = None
    """Of how many people's conversations; None if that is not known, or of nobody's."""


async def keep_baseline(pool: Pool, baseline: Baseline) -> None:
    """Keep a baseline; the newest one of its kind, scorer and model holds."""
    await pool.rows(
        _KEEP,
        baseline.character,
        baseline.kind.value,
        baseline.scorer,
        baseline.model,
        baseline.made_at,
        baseline.plate_version,
        baseline.seed,
        _samples_to_bytes(baseline.scores),
        baseline.owners,
    )


async def load_newest(
    pool: Pool, character: CharacterId, kind: BaselineKind, *, scorer: str, model: str
) -> Baseline | None:
    """The baseline that holds for this scorer and model."""
    row = await pool.row(_NEWEST, character, kind.value, scorer, model)
    return None if row is None else _baseline_from_row(row)


async def list_of_character(pool: Pool, character: CharacterId) -> list[Baseline]:
    """All baselines of a character, the newest first: also those that another scorer or model made void."""
    return [_baseline_from_row(row) for row in await pool.rows(_OF_CHARACTER, character)]


def vectors_to_samples(vectors: Sequence[Vector]) -> Samples:
    """Scores as rows of fractions of one, NaN where an axis was not observed."""
    rows = [[np.nan if each is None else each / UNIT for each in vector.millionths] for vector in vectors]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(AXES))


def _samples_to_bytes(scores: Samples) -> bytes:
    whole = np.where(np.isnan(scores), _UNSEEN, np.rint(np.nan_to_num(scores) * UNIT))
    return whole.astype("<i4").tobytes()


def _samples_from_bytes(packed: bytes) -> Samples:
    whole: npt.NDArray[np.int32] = np.frombuffer(packed, dtype="<i4").reshape(-1, len(AXES))
    return np.where(whole == _UNSEEN, np.nan, whole / UNIT)


def _baseline_from_row(row: Record) -> Baseline:
    return Baseline(
        row["character_id"],
        BaselineKind(row["kind"]),
        row["scorer"],
        row["model"],
        row["made_at"],
        row["plate_version"],
        row["seed"],
        _samples_from_bytes(row["scores"]),
        row["owners"],
    )


_COLUMNS = "character_id, kind, scorer, model, made_at, plate_version, seed, scores, owners"
_KEEP = f"INSERT INTO character_baselines ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"  # noqa: S608
_NEWEST = f"""
    SELECT {_COLUMNS} FROM character_baselines
    WHERE character_id = $1 AND kind = $2 AND scorer = $3 AND model = $4 ORDER BY made_at DESC LIMIT 1
"""  # noqa: S608 - constants joined, here and below
_OF_CHARACTER = f"""
    SELECT {_COLUMNS} FROM character_baselines WHERE character_id = $1 ORDER BY made_at DESC
"""  # noqa: S608
