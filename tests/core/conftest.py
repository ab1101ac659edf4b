"""The keys, rules and nodes of tests of the rules, as fixtures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ccn.core.chain.roster import Roster, RosterRow
from ccn.core.chain.rules import Rules
from ccn.core.ledger.signed import Check
from tests.support.core.honest_cluster import Cluster, cluster_of, row, rows, rules_of
from tests.support.core.keys import Pair, Pairs, ed25519, pair_from, pair_of


@pytest.fixture(scope="session")
def check() -> Check:
    """Whether a key signed a message; False for whatever is no signature at all."""
    return ed25519


@pytest.fixture(scope="session")
def pair() -> Pairs:
    """The key pair that belongs to a name."""
    return pair_of


@pytest.fixture(scope="session")
def seeded() -> Callable[[bytes], Pair]:
    """The key pair of a published seed."""
    return pair_from


@pytest.fixture(scope="session")
def cluster() -> Callable[..., Cluster]:
    """A cluster of so many nodes at its genesis."""
    return cluster_of


@pytest.fixture(scope="session")
def rules() -> Callable[..., Rules]:
    """The rules of a cluster of these nodes."""
    return rules_of


@pytest.fixture(scope="session")
def make_row() -> Callable[..., RosterRow]:
    """An instance by number and scores; the scores left out are neutral."""
    return row


@pytest.fixture(scope="session")
def make_roster() -> Callable[..., Roster]:
    """The roster of these rows."""
    return rows
