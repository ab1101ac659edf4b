"""Nodes agree without talking who takes care of what, and share it fairly."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from ccn.core import rendezvous
from ccn.core.ids import NodeId

NODES = [NodeId(f"node-{number}") for number in range(1, 6)]
THINGS = [UUID(int=number) for number in range(2_000)]


def test_everybody_ranks_alike_and_the_shares_are_even() -> None:
    firsts = Counter(rendezvous.rank_nodes(thing, NODES)[0] for thing in THINGS)
    assert firsts == Counter(rendezvous.rank_nodes(thing, reversed(NODES))[0] for thing in THINGS)
    assert all(0.8 < count * len(NODES) / len(THINGS) < 1.2 for count in firsts.values())


def test_when_a_node_goes_only_its_own_moves() -> None:
    for thing in THINGS:
        before, after = rendezvous.rank_nodes(thing, NODES), rendezvous.rank_nodes(thing, NODES[1:])
        assert [node for node in before if node != NODES[0]] == after


def test_a_node_knows_how_many_come_before_it() -> None:
    for thing in THINGS[:50]:
        assert [rendezvous.rank_of(thing, node, NODES) for node in rendezvous.rank_nodes(thing, NODES)] == [
            *range(5)
        ]
    assert rendezvous.rank_of(THINGS[0], NODES[0], []) == 0
