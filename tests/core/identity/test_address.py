"""A credential follows an address only where nobody on the way can have made that address up."""

from __future__ import annotations

import pytest

from ccn.core.identity import address
from tests.support.core.addresses import FOLLOWED, NOT_FOLLOWED


@pytest.mark.parametrize(("pointed", "learnt"), FOLLOWED)
def test_what_came_over_tls_or_stays_on_one_host_is_followed(pointed: str, learnt: str) -> None:
    assert address.may_follow(pointed, learnt)


@pytest.mark.parametrize(("pointed", "learnt"), NOT_FOLLOWED)
def test_nothing_else_gets_a_credential(pointed: str, learnt: str) -> None:
    assert not address.may_follow(pointed, learnt)
