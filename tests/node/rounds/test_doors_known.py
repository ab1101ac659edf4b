"""Which doors a node knows: a page of a node that is gone asks at another one, which has to let it in."""

from __future__ import annotations

from ccn.core.ids import NodeId
from ccn.node.rounds import presence

HERE, THERE = NodeId("node-1"), NodeId("node-2")


def test_a_node_that_is_gone_is_remembered_where_it_was_last() -> None:
    both = presence.merge_known({}, {HERE: "http://a", THERE: "http://b"})
    alone = presence.merge_known(both, {HERE: "http://c"})
    assert alone == {HERE: "http://c", THERE: "http://b"}
    assert presence.merge_known(alone, {HERE: "http://c", THERE: "http://d"})[THERE] == "http://d"


def test_only_the_last_ones_that_are_gone_are_remembered() -> None:
    known: dict[NodeId, str] = {}
    for number in range(200):
        known = presence.merge_known(known, {HERE: "http://a", NodeId(f"pod-{number}"): "http://b"})
    assert len(known) == presence.REMEMBERED + 2
    assert NodeId("pod-198") in known
    assert NodeId("pod-1") not in known
