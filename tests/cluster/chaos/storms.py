"""The storms: what is done to which party, at which step of a round, and what must be so meanwhile.

A step is exact: the node whose step it is has stopped itself right after it, and stands still until the
harm is done.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from tests.cluster.chaos.cluster import TTL_S, Cluster
from tests.cluster.chaos.network import Way
from tests.cluster.chaos.party import Node, Party

LEADERS_STEPS = (
    "round opened",
    "reports collected",
    "block proposed",
    "votes counted",
    "block written",
    "block durable",
    "block committed",
)
"""Before collecting; with the reports; with the proposal; with the votes; in the open transaction; after
the commit and before anybody is told; after everybody was told and cosigned."""
FOLLOWERS_STEPS = ("report signed", "vote saved", "block confirmed")
"""Each before the answer leaves the node."""
FROZEN_S = {"etcd": 1.5 * TTL_S, "postgres": 1.0}


@dataclass(frozen=True, slots=True)
class Storm:
    """One party killed or frozen at a step; a step of a follower's is that of the victim itself."""

    step: str
    victim: str
    fault: str

    def __str__(self) -> str:
        return f"{self.fault} {self.victim} at {self.step}"

    async def strike(self, cluster: Cluster) -> None:
        """Do the harm, see that rounds go on, and mend it.

        A node is harmed when all others are well, so that a majority is left; a service even while a node
        that was killed is on its way back.
        """
        if self.victim in {"leader", "follower"}:
            await cluster.whole()
        own = self.step in FOLLOWERS_STEPS
        leader, follower = await cluster.stopped_at(self.step, follower=own)
        still = follower if own else leader
        named: dict[str, Party] = {"leader": leader, "follower": follower}
        victim = (
            named.get(self.victim)
            or {"etcd": cluster.coordination, "postgres": cluster.database}[self.victim]
        )
        await (_killed if self.fault == "kill" else _frozen)(cluster, victim, still)


HARMS = (
    ("kill", "leader"),
    ("kill", "etcd"),
    ("freeze", "postgres"),
    ("kill", "follower"),
    ("kill", "postgres"),
    ("freeze", "etcd"),
    ("freeze", "leader"),
    ("freeze", "follower"),
)
"""In this order services suffer while a killed node comes back, which takes the longest of all."""

ALL = tuple(Storm(step, victim, fault) for step in LEADERS_STEPS for fault, victim in HARMS) + tuple(
    Storm(step, "follower", fault) for step, fault in product(FOLLOWERS_STEPS, ("kill", "freeze"))
)
SOME = (
    Storm("votes counted", "leader", "kill"),
    Storm("block written", "leader", "freeze"),
    Storm("vote saved", "follower", "kill"),
    Storm("block proposed", "etcd", "freeze"),
    Storm("block written", "postgres", "kill"),
)


async def _killed(cluster: Cluster, victim: Party, still: Node) -> None:
    await victim.kill()
    if still is not victim:
        await still.thaw()
    await cluster.goes_on()
    await victim.comes_back()


async def _frozen(cluster: Cluster, victim: Party, still: Node) -> None:
    if still is not victim:
        await victim.freeze()
        await still.thaw()
    if isinstance(victim, Node):
        await cluster.goes_on()
    else:
        await asyncio.sleep(FROZEN_S[victim.name])  # how long it lasts is the storm, not a wait
    await victim.thaw()
    await cluster.goes_on(1)


Cut = Callable[[Cluster, str, str], Sequence[Way]]
"""The ways that are cut, given the names of the leader and of a follower."""


def _both(one: str, *others: str) -> list[Way]:
    return [way for other in others for way in ((one, other), (other, one))]


PARTITIONS: dict[str, Cut] = {
    "the leader, from everybody": lambda c, leader, _: c.around(leader),
    "what the leader sends": lambda c, leader, _: c.around(leader, both=False),
    "what is sent to the leader": lambda c, leader, _: [(b, a) for a, b in c.around(leader, both=False)],
    "the leader, from the nodes": lambda c, leader, _: _both(leader, *c.nodes.keys() - {leader}),
    "the leader, from etcd": lambda _, leader, __: _both(leader, "etcd"),
    "the leader, from PostgreSQL": lambda _, leader, __: _both(leader, "postgres"),
    "what PostgreSQL answers the leader": lambda _, leader, __: [("postgres", leader)],
    "what etcd answers the leader": lambda _, leader, __: [("etcd", leader)],
    "a follower, from everybody": lambda c, _, follower: c.around(follower),
    "what a follower sends": lambda c, _, follower: c.around(follower, both=False),
    "a follower, from the leader": lambda _, leader, follower: _both(leader, follower),
    "a follower, from PostgreSQL": lambda _, __, follower: _both(follower, "postgres"),
    "what a follower answers the leader": lambda _, leader, follower: [(follower, leader)],
}
"""A majority stays whole in each of these, so that rounds must go on before it heals."""
ONE_WAY = tuple(name for name in PARTITIONS if name.startswith("what "))
SOME_PARTITIONS = (
    "what is sent to the leader",
    "the leader, from PostgreSQL",
    "what a follower answers the leader",
)


async def all_at_once(cluster: Cluster, chance: random.Random) -> None:
    """One node dies, one stands still, one is apart with a wrong clock, a service dies; all is mended."""
    nodes = list(cluster.nodes.values())
    dead, frozen, apart = chance.sample(nodes, 3)
    await cluster.stopped_at(chance.choice(LEADERS_STEPS))
    await dead.kill()
    await frozen.freeze()
    cluster.network.cut(*cluster.around(apart.name, both=chance.random() < 0.5))
    await chance.choice([cluster.database, cluster.coordination]).kill()
    apart.set_clock(chance.uniform(-5, 5))
    await dead.comes_back()
    apart.set_clock(0)
    for node in nodes:
        node.disarm()
        await node.thaw()
    cluster.network.heal(late=chance.random() < 0.5)
