"""Elections on a real etcd: somebody leads, steps down, and is replaced."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import pytest

from ccn import errors, settings
from ccn.core.chain.rules import Parameters
from ccn.core.identity.registration import Registration
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.refusal import Refusal
from ccn.embedded import etcd as embedded
from ccn.etcd import client, members, session
from ccn.node.rounds import genesis, leadership
from ccn.node.rounds.leadership import Candidate
from ccn.store.connection import pool
from ccn.store.operators import drains, requests
from ccn.store.rounds import blocks, terms
from tests.cluster.chaos.network import Network
from tests.support.core.registrations import registration
from tests.support.node.round_world import NODES, Neighbours, World

PATIENT_S = 10.0
LASTING = {"ttl_s": 60.0, "keepalive_s": 5.0}
"""No lead ends here because its lease does."""


@pytest.fixture
async def endpoints() -> AsyncIterator[tuple[str, ...]]:
    """A real etcd."""
    async with embedded.run_etcd() as server:
        yield server.endpoints


def candidate(world: World, node: NodeId) -> Candidate:
    voting = world.peers.votings[node]

    async def wish() -> None:
        return None

    return Candidate(
        world.identity(node), voting, world.peers, world.pool, world.writer, world.now_us, wish
    )


async def height_reaches(world: World, wanted: int) -> None:
    async with asyncio.timeout(60):
        while (await blocks.load_height(world.pool) or 0) < wanted:
            await asyncio.sleep(0.01)


async def campaign(world: World, node: NodeId, endpoints: tuple[str, ...]) -> None:
    async with (
        client.open_client(endpoints, deadline_s=PATIENT_S) as etcd,
        session.open_session(etcd, **LASTING) as held,
    ):
        await leadership.campaign_and_lead(candidate(world, node), held)


async def asked(world: World) -> Mapping[str, object]:
    """Ask for a round as an operator does, and wait for what came of it."""
    request = uuid.uuid4()
    await requests.add_request(world.pool, request, requests.ROUND, "test")
    async with asyncio.timeout(60):
        while True:
            outcome = await requests.load_outcome(world.pool, request)
            if outcome is not None:
                return outcome
            await asyncio.sleep(0.01)


async def test_one_node_leads_and_holds_a_round_at_once(world: World, endpoints: tuple[str, ...]) -> None:
    candidates = [asyncio.create_task(campaign(world, node, endpoints)) for node in NODES]
    await height_reaches(world, 1)
    first = await terms.load_term(world.pool)
    for task, node in zip(candidates, NODES, strict=True):
        if node == first.leader:
            task.cancel()
    await height_reaches(world, 2)
    second = await terms.load_term(world.pool)
    assert second.leader != first.leader
    assert second.number > first.number
    for task in candidates:
        task.cancel()
    await asyncio.gather(*candidates, return_exceptions=True)


async def test_an_operator_gets_a_round_now_and_its_outcome(
    world: World, endpoints: tuple[str, ...]
) -> None:
    async with (
        client.open_client(endpoints, deadline_s=PATIENT_S) as etcd,
        session.open_session(etcd, **LASTING) as held,
    ):
        standing = candidate(world, NODES[0])
        leading = asyncio.create_task(leadership.campaign_and_lead(standing, held))
        await height_reaches(world, 1)
        told = await asked(world)
        assert (told["committed"], told["height"], told["refused"]) == (True, 2, {})
        leading.cancel()
        await asyncio.wait({leading})


async def test_the_leader_seals_that_a_round_is_not_wanted_any_more(
    world: World, endpoints: tuple[str, ...]
) -> None:
    request = uuid.uuid4()
    await requests.add_request(world.pool, request, requests.ROUND, "ann")
    await requests.take_back_request(world.pool, request, "bob", "a slip")
    async with client.open_client(endpoints) as etcd, session.open_session(etcd) as held:
        leading = asyncio.create_task(leadership.campaign_and_lead(candidate(world, NODES[0]), held))
        async with asyncio.timeout(20):
            while (told := await requests.load_outcome(world.pool, request)) is None:
                await asyncio.sleep(0.01)
        assert isinstance(requests.outcome_to_error(told), errors.TakenBack)
        assert (await asked(world))["committed"]
        leading.cancel()
        await asyncio.wait({leading})


@dataclass
class Reticent(Neighbours):
    """Peers of which some report and do not vote."""

    silent: set[NodeId] = field(default_factory=set)

    async def collect_votes(
        self, proposed: Signed[Proposal], within_s: float
    ) -> Mapping[NodeId, Signed[Vote] | Refusal | str]:
        there = {node: each for node, each in self.votings.items() if node not in self.silent}
        return await Neighbours(there).collect_votes(proposed, within_s)


async def test_a_round_that_fails_for_lack_of_votes_costs_the_term(
    world: World, endpoints: tuple[str, ...]
) -> None:
    peers = Reticent(world.peers.votings, silent=set(NODES[1:]))
    async with (
        client.open_client(endpoints, deadline_s=PATIENT_S) as etcd,
        session.open_session(etcd, **LASTING) as held,
    ):
        standing = replace(candidate(world, NODES[0]), peers=peers)
        before = (await terms.load_term(world.pool)).number
        leading = asyncio.create_task(leadership.campaign_and_lead(standing, held))
        async with asyncio.timeout(60):
            while (await terms.load_term(world.pool)).number < before + 2:
                await asyncio.sleep(0.01)
        peers.silent = set()
        assert (await asked(world))["committed"] is True
        leading.cancel()
        await asyncio.wait({leading})


async def test_rounds_to_which_too_few_come_cost_no_term(world: World, endpoints: tuple[str, ...]) -> None:
    world.peers.away = set(NODES[1:])
    async with (
        client.open_client(endpoints, deadline_s=PATIENT_S) as etcd,
        session.open_session(etcd, **LASTING) as held,
    ):
        leading = asyncio.create_task(leadership.campaign_and_lead(candidate(world, NODES[0]), held))
        assert (await asked(world))["committed"] is False
        term = (await terms.load_term(world.pool)).number
        world.peers.away = set()
        told = await asked(world)
        assert (told["committed"], told["term"]) == (True, term)
        leading.cancel()
        await asyncio.wait({leading})


async def test_a_leader_whose_rounds_keep_failing_lets_another_one_try(
    world: World, endpoints: tuple[str, ...]
) -> None:
    lonely = candidate(world, NODES[0])
    lonely = replace(lonely, peers=Neighbours(world.peers.votings, away=set(NODES[1:])))
    async with (
        client.open_client(endpoints, deadline_s=PATIENT_S) as etcd,
        session.open_session(etcd, **LASTING) as held,
    ):
        leading = asyncio.create_task(leadership.campaign_and_lead(lonely, held))
        for _ in range(leadership.RESIGN_AFTER):
            assert (await asked(world))["committed"] is False
        other = asyncio.create_task(campaign(world, NODES[1], endpoints))
        await asyncio.wait_for(leading, 60)
        await height_reaches(world, 1)
        assert (await terms.load_term(world.pool)).leader == NODES[1]
        other.cancel()
        await asyncio.wait({other})


async def test_a_leader_that_postgresql_does_not_answer_lets_another_one_try(
    world: World, endpoints: tuple[str, ...]
) -> None:
    network, port = Network(list), urlsplit(world.database.url.get_secret_value()).port
    assert port is not None
    async with network.door("postgres", port, NODES[0]) as door:
        url = world.database.url.get_secret_value().replace(f":{port}/", f":{door}/")
        behind = settings.DatabaseSettings.from_url(url).model_copy(update={"connect_timeout_s": 3.0})
        async with pool.open(behind, "cut off") as own:
            lonely = replace(candidate(world, NODES[0]), pool=own)
            async with (
                client.open_client(endpoints, deadline_s=PATIENT_S) as etcd,
                session.open_session(etcd, **LASTING) as held,
            ):
                leading = asyncio.create_task(leadership.campaign_and_lead(lonely, held))
                await height_reaches(world, 1)
                network.cut((NODES[0], "postgres"), ("postgres", NODES[0]))
                other = asyncio.create_task(campaign(world, NODES[1], endpoints))
                await height_reaches(world, 2)
                assert held.alive
                assert (await terms.load_term(world.pool)).leader == NODES[1]
                network.heal(late=False)
                with pytest.raises(
                    errors.DatabaseUnavailable, match="did not answer the leader within 5 s"
                ):
                    await asyncio.wait_for(leading, 60)
                other.cancel()
                await asyncio.wait({other})


async def test_a_leader_that_is_overtaken_steps_down(world: World, endpoints: tuple[str, ...]) -> None:
    async with (
        client.open_client(endpoints, deadline_s=PATIENT_S) as etcd,
        session.open_session(etcd, **LASTING) as held,
    ):
        standing = candidate(world, NODES[0])
        leading = asyncio.create_task(leadership.campaign_and_lead(standing, held))
        await height_reaches(world, 1)
        await terms.take_over_term(world.pool, NODES[1], 5)
        await requests.add_request(world.pool, uuid.uuid4(), requests.ROUND, "test")
        with pytest.raises(errors.StaleTerm):
            await asyncio.wait_for(leading, 60)


async def test_a_leader_that_is_drained_lets_another_lead(world: World, endpoints: tuple[str, ...]) -> None:
    async with (
        client.open_client(endpoints, deadline_s=PATIENT_S) as etcd,
        session.open_session(etcd, **LASTING) as held,
    ):
        leading = asyncio.create_task(leadership.campaign_and_lead(candidate(world, NODES[0]), held))
        await height_reaches(world, 1)
        await drains.begin_drain(world.pool, NODES[0], "ann", NODES)
        await asyncio.wait_for(leading, 60)
        term = (await terms.load_term(world.pool)).number
        await asyncio.wait_for(leadership.campaign_and_lead(candidate(world, NODES[0]), held), 60)
        assert (await terms.load_term(world.pool)).number == term


async def test_a_chain_is_founded_by_those_who_are_there(world: World, endpoints: tuple[str, ...]) -> None:
    async with (
        client.open_client(endpoints, deadline_s=PATIENT_S) as etcd,
        session.open_session(etcd, **LASTING) as held,
    ):
        await members.register_node(held, registration(NODES[0], held.lease), lambda _: True)

        async def there() -> list[Registration]:
            return [each.said.statement for each in await members.read_registrations(etcd)]

        gathered = await genesis.wait_for_founders(there, 1)
        assert [member.node for member in gathered] == [NODES[0]]
        known = await genesis.found_chain(
            world.pool, NODES[0], gathered, "other.example/x", Parameters("tier-1/v1")
        )
        assert known == world.genesis == await genesis.wait_for_genesis(world.pool)
