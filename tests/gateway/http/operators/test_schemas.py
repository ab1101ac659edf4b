"""What operators read of rounds has named fields, and says what the node says, nothing more or less."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ccn.core.axes import AXES
from ccn.gateway.http.operators import schemas
from ccn.gateway.http.schemas import Schema

COMMITTED = {
    "at": "2026-11-28T10:44:57.104500+00:00",
    "term": 3,
    "committed": True,
    "height": 128,
    "hash": "9f2c",
    "leader": "node-1",
    "leaves": 4,
    "votes": ["node-1", "node-2"],
    "reports": ["node-1", "node-2"],
    "left_out": [["node-3", "tip"]],
    "characters": [{"character": "ada", "instances": 7, "outliers": 1, "disputed": 0}],
}
FAILED = {
    "at": "2026-11-28T10:44:57+00:00",
    "term": 3,
    "committed": False,
    "height": 129,
    "reason": "no quorum within 5 s",
    "refused": {"node-2": "no answer"},
}
LATER = COMMITTED | {"weather": {"of": ["another", "version"]}}
INSTANCE = "0197b2a4-7d1c-7c1e-9a55-2f6f0f3d8c11"


def dump(answer: Schema, *, exclude_unset: bool = False) -> dict[str, Any]:
    return answer.model_dump(mode="json", by_alias=True, exclude_unset=exclude_unset)


@pytest.mark.parametrize(
    "entry", [COMMITTED, FAILED, LATER], ids=["committed", "failed", "of another version"]
)
def test_a_round_of_the_log_is_shown_with_the_fields_it_has(entry: dict[str, Any]) -> None:
    assert dump(schemas.RoundEntry.model_validate(entry), exclude_unset=True) == entry


def test_a_block_is_shown_as_the_node_takes_it_apart() -> None:
    reported = {"instance": INSTANCE, "node": "node-1", "drift": 0.25}
    result = {
        "character": "ada",
        "instances": 2,
        "owners": 2,
        "median": dict.fromkeys(AXES) | {"curiosity": 0.5},
        "drift": {"least": 0.0, "most": 0.25},
        "outliers": [reported],
        "disputed": [],
    }
    nobody: dict[str, Any] = {
        "instances": 0,
        "owners": None,
        "drift": {"least": None, "most": None},
        "outliers": [],
    }
    block = {
        "height": 128,
        "hash": "9f2c",
        "previous": "51aa",
        "term": 3,
        "at": "2026-11-28T10:44:57.104500+00:00",
        "leader": "node-1",
        "leaves": 4,
        "tree size": 512,
        "spans": ["node-1 12..15"],
        "reports": ["node-1", "node-2"],
        "votes": ["node-1", "node-2"],
        "results": [result, result | nobody],
    }
    assert dump(schemas.BlockAnswer.model_validate(block)) == block


def test_a_field_that_the_reference_does_not_name_is_a_defect_of_ours() -> None:
    node = {"node": "a", "votes": True, "key": "aa", "draining": False, "unsealed": 0, "last_vote": None}
    assert dump(schemas.ValidatorEntry.model_validate(node)) == node
    with pytest.raises(ValidationError):
        schemas.ValidatorEntry.model_validate(node | {"secret": 1})
