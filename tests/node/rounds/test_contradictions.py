"""Who signs two things that no honest node signs is found out by whoever hears both."""

from __future__ import annotations

import json
from dataclasses import replace

from ccn.core.chain import block, checkpoint
from ccn.core.ledger import note, signed
from ccn.core.ledger.signed import Signed
from ccn.core.rounds import ballot
from ccn.core.rounds.ballot import Draft, TermLeader, Vote
from ccn.core.rounds.refusal import Reason
from ccn.node.rounds import consensus_round as story
from ccn.node.rounds import contradictions
from ccn.node.rounds.consensus_round import SealedRound
from ccn.node.rounds.contradictions import HeardStatements
from ccn.peers.exchange import ReportRequest
from ccn.store.rounds import blocks, evidence
from tests.support.core.keys import ed25519, pair_of
from tests.support.node.round_world import NODES, World

LIARS = NODES[1:]


async def forge(world: World) -> None:
    """The database shows another block 1, for which two nodes voted, and which they cosigned."""
    reports = [each.statement for each in await blocks.load_reports(world.pool, 1)]
    now_us = world.now_us() + 7
    other = block.seal(
        world.genesis,
        reports,
        term=world.term,
        leader=NODES[0],
        time_us=now_us,
        next_rules=world.genesis.rules,
    )
    after = block.advance_tip(
        world.genesis, other.header, world.genesis.tree.extend(other.leaves), world.genesis.rules
    )
    head, hashed, parts = after.checkpoint(), other.header.hash(), list[str]()
    parts.append(f"UPDATE verification_chain SET hash = {_hex(hashed)}, root = {_hex(head.root)}, "
                 f"header = {_hex(other.header.body())} WHERE height = 1")  # fmt: skip
    parts.append(f"UPDATE checkpoints SET note = {_hex(head.text().encode())}")
    parts.append("DELETE FROM votes; DELETE FROM cosignatures")
    for node in LIARS:
        pair = pair_of(node)
        line = checkpoint.cosign(head, node, pair.public, 1, pair.sign)
        shown = note.signature_to_line(line).encode()
        vote = pair.sign(Vote(node, 1, world.term, hashed).signed_bytes())
        parts.append(f"INSERT INTO cosignatures (tree_size, signer, line)"
                     f" VALUES ({head.size}, '{line.name}', {_hex(shown)})")  # fmt: skip
        parts.append(f"INSERT INTO votes VALUES (1, {world.term}, '{node}', {_hex(hashed)}, {_hex(vote)})")
    await world.superuser("; ".join(parts))


def _hex(data: bytes) -> str:
    return f"'\\x{data.hex()}'::bytea"


async def test_whoever_stands_for_two_blocks_of_one_height_is_convicted(world: World) -> None:
    await world.say("one")
    assert isinstance(await story.run_round(await world.lead(NODES[0])), SealedRound)
    honest = world.peers.votings[NODES[0]]
    await honest.catch_up()  # sees the others' cosignatures
    await forge(world)
    await honest.catch_up()
    assert honest.stop_reason is not None
    assert honest.stop_reason.reason is Reason.SIDEWAYS
    found = await evidence.list_newest(world.pool)
    assert {(each.node, each.kind) for each in found} == {
        (node, kind) for node in LIARS for kind in ("cosigned", "vote")
    }
    assert {(each.height, each.found_by) for each in found} == {(1, NODES[0])}


async def test_a_leader_that_asks_for_two_blocks_in_one_term_is_convicted(world: World) -> None:
    leading = await world.lead(NODES[0])
    ask = ReportRequest(NODES[0], 1, leading.term, world.genesis.hash)
    answers = [await each.sign_report(ask) for each in world.peers.votings.values()]
    reports = [each for each in answers if isinstance(each, Signed)]
    leader = TermLeader(NODES[0], world.genesis, leading.term, world.genesis.rules)
    for later_us in (0, 1):
        draft = ballot.propose(reports, leader, world.now_us() + later_us, ed25519)
        assert isinstance(draft, Draft)
        await world.peers.votings[NODES[1]].vote_on(
            signed.sign_statement(draft.proposal, pair_of(NODES[0]).sign)
        )
    (found,) = await evidence.list_newest(world.pool)
    assert (found.node, found.kind, found.found_by) == (NODES[0], "proposal", NODES[1])
    body = json.loads(found.body)
    for name in ("first", "second"):
        said, by = (bytes.fromhex(body[f"{name}_{part}"]) for part in ("message", "signature"))
        assert ed25519(pair_of(NODES[0]).public, said, by)


async def test_what_is_not_signed_convicts_nobody_and_hides_nothing(world: World) -> None:
    ears, rules = HeardStatements(NODES[0], ed25519, world.pool), world.genesis.rules
    forged = [Signed(_vote(bytes([byte])), bytes(64)) for byte in range(contradictions.VERSIONS - 2)]
    real = [signed.sign_statement(_vote(byte), pair_of(NODES[1]).sign) for byte in (b"x", b"y")]
    await ears.add(forged, rules)
    assert await evidence.list_newest(world.pool) == []
    await ears.add([*real, *forged], rules)
    assert [each.kind for each in await evidence.list_newest(world.pool)] == ["vote"]


async def test_no_more_is_remembered_than_agreed(world: World) -> None:
    ears, rules = HeardStatements(NODES[0], ed25519, world.pool), world.genesis.rules
    for height in range(contradictions.POSITIONS + 2):
        for block_of in (b"x", b"y"):
            said = replace(_vote(block_of), height=height)
            if block_of == b"x" or height in {0, contradictions.POSITIONS + 1}:
                await ears.add([signed.sign_statement(said, pair_of(NODES[1]).sign)], rules)
    await ears.add([signed.sign_statement(replace(_vote(b"y"), height=1), pair_of(NODES[1]).sign)], rules)
    assert {each.height for each in await evidence.list_newest(world.pool)} == {
        0,
        contradictions.POSITIONS + 1,
    }


def _vote(of: bytes) -> Vote:
    return Vote(NODES[1], 1, 1, of * 32)
