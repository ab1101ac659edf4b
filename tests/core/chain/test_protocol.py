"""A program speaks a range of protocols."""

from __future__ import annotations

import pytest

from ccn import errors
from ccn.cli import verify
from ccn.core.chain import protocol
from ccn.core.chain.protocol import ProtocolRange


def test_a_range_has_both_its_ends() -> None:
    spoken = ProtocolRange(2, 3)
    assert [each in spoken for each in (1, 2, 3, 4)] == [False, True, True, False]
    assert (str(spoken), str(ProtocolRange(2, 2))) == ("2-3", "2")


@pytest.mark.parametrize(("lowest", "highest"), [(0, 1), (2, 1), (1, protocol.LIMIT + 1)])
def test_a_range_of_nothing_is_refused(lowest: int, highest: int) -> None:
    with pytest.raises(errors.InputInvalid):
        ProtocolRange(lowest, highest)


def test_this_program_speaks_what_the_release_before_speaks_and_its_verifier_knows_all_of_it() -> None:
    assert protocol.SHARED in protocol.SPOKEN
    assert protocol.SPOKEN.highest == verify.PROTOCOL


def test_who_does_not_speak_the_protocol_in_force_is_told_which_program_to_run() -> None:
    assert "run the newer CCN" in protocol.describe_gap(3, ProtocolRange(1, 2))
    assert "run the older CCN" in protocol.describe_gap(1, ProtocolRange(2, 3))
