"""Every call with many parameters names exactly those that its function in the database has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from ccn.store.connection.calls import call_by_name
from ccn.store.spending import spend
from ccn.store.writing import turn_steps

if TYPE_CHECKING:
    from tests.support.store.open_store import Store


def test_a_call_names_each_parameter() -> None:
    assert call_by_name("ccn_led", ["fence", "term"]) == "ccn_led(fence => $1, term => $2)"


@pytest.mark.parametrize(
    ("function", "parameters"),
    [("ccn_turns", turn_steps.PARAMETERS), ("ccn_till", spend.change_arguments([], []))],
    ids=["turns", "till"],
)
async def test_a_call_has_the_parameters_of_its_function(
    shared: Store, function: str, parameters: Iterable[str]
) -> None:
    newest = await shared.pool.value(
        "SELECT proargnames FROM pg_proc WHERE proname = $1 ORDER BY oid DESC LIMIT 1", function
    )
    assert list(parameters) == newest
