"""A batch packs what happens to turns into one call with a value for each parameter."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ccn.core.ids import NodeId
from ccn.store.writing import turn_steps
from ccn.store.writing.batch import Batch, Numbering
from ccn.store.writing.turn_steps import PARAMETERS, TurnStep

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_a_step_fills_its_own_columns_and_leaves_all_others_empty() -> None:
    steps = {TurnStep.START: [("turn-1", 3, NOW), ("turn-2", 4, NOW)]}
    _, values = turn_steps.pack_call(NodeId("node-1"), 7, [], [], steps)
    packed = dict(zip(PARAMETERS, values, strict=True))
    assert (packed.pop("node"), packed.pop("leaf_head")) == ("node-1", 7)
    started = [packed.pop(column) for column in TurnStep.START.columns]
    assert started == [("turn-1", "turn-2"), (3, 4), (NOW, NOW)]
    assert not any(packed.values())


def test_a_step_with_too_few_values_is_a_defect() -> None:
    batch = Batch(Numbering(NodeId("node-1"), 0), NOW)
    with pytest.raises(AssertionError, match="start takes 3 values"):
        batch.add_step(TurnStep.START, "turn-1", 3)


def test_steps_with_as_many_columns_are_not_the_same_step() -> None:
    assert len(TurnStep.__members__) == len(list(TurnStep)), "a step is an alias of another one"
    assert [step.value for step in TurnStep] == ["accept", "start", "tell", "end"]
