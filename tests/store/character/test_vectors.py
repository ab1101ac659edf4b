"""Vectors come back exactly as they were scored, by the latest, by a moment and by a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccn.core.axes import AXES, RELATIONAL, UNIT, Vector
from ccn.store.character import vectors
from ccn.store.character.vectors import RecordRelation, RecordScore
from ccn.store.upkeep import snapshots

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

SCORES = st.one_of(st.none(), st.integers(0, UNIT), st.sampled_from([0, 1, UNIT - 1, UNIT]))
MIDDLE = Vector((500_000,) * 16)


def _vector(first: int) -> Vector:
    return Vector((first, None, *(None,) * 13, UNIT))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    many=st.lists(st.tuples(*[SCORES] * len(AXES)), min_size=1, max_size=40),
    related=st.tuples(*[SCORES] * len(RELATIONAL)),
)
async def test_every_millionth_and_every_missing_axis_comes_back_as_it_was(
    shared: Store, many: list[tuple[int | None, ...]], related: tuple[int | None, ...]
) -> None:
    here = await shared.conversation()
    for seq, millionths in enumerate(many, 1):
        await shared.writer.submit(RecordScore(here, seq, Vector(millionths), "scorer"))
    await shared.writer.submit(RecordRelation(here, 1, Vector(related)))
    found = await vectors.load_window(shared.pool, here, last=100)
    assert [each.vector.millionths for each in found] == many
    relational = await vectors.load_relational(shared.pool, here)
    assert relational is not None
    assert relational.vector.millionths == related


async def test_every_single_millionth_survives_being_stored_as_real(shared: Store) -> None:
    wrong = await shared.pool.value(
        "SELECT count(*) FROM generate_series(0, 1000000) AS n"
        " WHERE round((n / 1000000.0)::real::float8 * 1000000) <> n"
    )
    assert wrong == 0


async def test_a_state_is_found_by_the_latest_by_a_moment_and_by_a_window(shared: Store) -> None:
    here, elsewhere = await shared.conversation(), await shared.conversation()
    assert await vectors.load_latest(shared.pool, here) is None
    moments = []
    for seq in range(1, 6):
        moments.append(shared.clock.forward(seconds=10))
        await shared.writer.submit(RecordScore(here, seq, _vector(seq), "scorer"))
    await shared.writer.submit(RecordScore(elsewhere, 1, MIDDLE, "scorer"))
    newest = await vectors.load_latest(shared.pool, here)
    assert newest is not None
    assert (newest.seq, newest.at, newest.vector) == (5, moments[-1], _vector(5))
    for seq, moment in enumerate(moments, 1):
        state = await snapshots.load_state_at(shared.pool, here, moment)
        assert state.character == _vector(seq)
    assert [each.seq for each in await vectors.load_window(shared.pool, here, last=3)] == [3, 4, 5]
    others = await vectors.load_latest(shared.pool, elsewhere)
    assert others is not None
    assert others.vector == MIDDLE


async def test_the_relational_state_is_found_at_a_moment(shared: Store) -> None:
    here = await shared.conversation()
    first = shared.clock.forward(seconds=1)
    await shared.writer.submit(RecordRelation(here, 1, Vector((1,) * 7)))
    shared.clock.forward(seconds=1)
    await shared.writer.submit(RecordRelation(here, 2, Vector((2,) * 7)))
    then, now = [await vectors.load_relational(shared.pool, here, at) for at in (first, None)]
    assert then is not None
    assert now is not None
    assert (then.seq, now.seq) == (1, 2)
    assert await vectors.load_relational(shared.pool, shared.new_id()) is None
