"""Storms over four nodes, where more than some of them are asked for."""

from __future__ import annotations

from tests.cluster.chaos import choice
from tests.cluster.chaos.weather import MARKS

if choice.ASKED:
    from tests.cluster.chaos.weather import (  # noqa: F401 - run from here
        test_an_etcd_that_lost_everything_costs_nothing_of_the_history,
        test_one_clock_that_jumps_stops_nobody_else,
        test_rounds_survive_whoever_dies_or_stands_still_at_any_step,
        test_rounds_wait_until_time_has_caught_up_with_clocks_that_were_ahead,
        test_the_majority_goes_on_behind_any_partition,
        test_whatever_happens_at_once_the_record_holds,
        test_without_a_majority_nothing_is_decided_until_it_is_back,
        weather,
    )

NODES = 4
pytestmark = MARKS
