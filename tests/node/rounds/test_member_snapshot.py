"""Who is here at one moment: who takes part, who stays outside, and which doors are still known."""

from __future__ import annotations

from dataclasses import replace

from ccn.core.chain.protocol import ProtocolRange
from ccn.core.identity.registration import Registration
from ccn.core.ids import NodeId
from ccn.etcd.election import ElectedLeader
from ccn.node.rounds import member_snapshot
from ccn.node.rounds.member_snapshot import MemberSnapshot
from tests.support.core.keys import pair_of
from tests.support.core.registrations import notice, registration

HERE, THERE = NodeId("node-1"), NodeId("node-2")


def registered(node: NodeId, http: str = "http://127.0.0.1:1", lease: int = 1) -> Registration:
    return registration(node, lease, http=http).statement


def own_key(node: NodeId) -> bytes | None:
    return pair_of(node).public


def test_who_has_another_key_than_the_chain_knows_is_here_and_takes_no_part() -> None:
    def key_of(node: NodeId) -> bytes | None:
        return pair_of("somebody").public if node == THERE else own_key(node)

    members = MemberSnapshot().replace_members([registered(HERE), registered(THERE)], key_of)
    assert ([*members.seen], [*members.outside]) == ([HERE], [THERE])
    assert members.present.keys() == members.registered_keys.keys() == {HERE, THERE}


def test_who_does_not_speak_the_protocol_in_force_is_here_and_takes_no_part() -> None:
    programs = {HERE: notice(HERE, 1, ProtocolRange(1, 2)).statement}
    both = [registered(HERE), registered(THERE)]
    first = MemberSnapshot().replace_members(both, own_key, programs)
    assert first.seen.keys() == {HERE, THERE}
    assert first.spoken_by(THERE) == ProtocolRange(1, 1), "who says nothing is from before"
    raised = first.replace_members(both, own_key, programs, in_force=2)
    assert ([*raised.seen], [*raised.outside]) == ([HERE], [THERE])
    assert raised.spoken_under({HERE: pair_of(HERE).public, THERE: bytes(32)}) == {
        HERE: ProtocolRange(1, 2)
    }


def test_a_snapshot_stays_as_it_was_when_the_next_one_is_made() -> None:
    before = MemberSnapshot().replace_members([registered(HERE), registered(THERE)], own_key)
    after = before.replace_members([registered(HERE)], own_key)
    assert before.seen.keys() == {HERE, THERE}
    assert after.seen.keys() == {HERE}
    assert after.doors.keys() == {HERE, THERE}


def test_the_door_of_who_was_removed_is_forgotten() -> None:
    before = MemberSnapshot().replace_members([registered(HERE), registered(THERE)], own_key)
    after = before.replace_members(
        [registered(HERE)], lambda node: None if node == THERE else own_key(node)
    )
    assert after.doors.keys() == {HERE}


def test_a_place_in_the_election_counts_in_the_present_session_only() -> None:
    members = MemberSnapshot().replace_members([registered(HERE, lease=7)], own_key)
    leader = ElectedLeader(HERE, revision=1, lease=7)
    assert members.is_rightful(leader)
    assert not members.is_rightful(replace(leader, lease=8))
    assert not members.is_rightful(replace(leader, node=THERE))


def test_a_node_that_is_gone_is_remembered_where_it_was_last() -> None:
    both = member_snapshot.merge_doors({}, {HERE: "http://a", THERE: "http://b"})
    alone = member_snapshot.merge_doors(both, {HERE: "http://c"})
    assert alone == {HERE: "http://c", THERE: "http://b"}
    assert member_snapshot.merge_doors(alone, {HERE: "http://c", THERE: "http://d"})[THERE] == "http://d"


def test_only_the_last_ones_that_are_gone_are_remembered() -> None:
    known: dict[NodeId, str] = {}
    for number in range(200):
        known = member_snapshot.merge_doors(known, {HERE: "http://a", NodeId(f"pod-{number}"): "http://b"})
    assert len(known) == member_snapshot.REMEMBERED + 2
    assert NodeId("pod-198") in known
    assert NodeId("pod-1") not in known
