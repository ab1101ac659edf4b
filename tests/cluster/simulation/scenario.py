"""What a seed means: how many nodes, what goes wrong, who lies. And the chaos that makes it happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from ccn.core.chain.quorum import FaultModel
from tests.cluster.simulation.loop import MS, SECOND
from tests.cluster.simulation.services.lying_database import Lie
from tests.cluster.simulation.services.network import SERVICE

if TYPE_CHECKING:
    from tests.cluster.simulation.nodes.node import Node
    from tests.cluster.simulation.world import World


class Kind(StrEnum):
    """Families of runs; each promises something of its own."""

    CRASH = "crashes"  # everybody is honest: nothing is lost, and everything is sealed in the end
    DATABASE = "a lying database"  # nodes are honest: what is final stays so, and the lie is noticed
    BYZANTINE = "lying nodes outvoted"  # as many liars as are tolerated, and the database lies for them
    DETECTED = "a lying node not outvoted"  # majorities and one liar: whatever it achieves leaves traces


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything about a run that is decided before it begins."""

    kind: Kind
    nodes: int
    faults: FaultModel
    liars: int
    instances: int
    loss: float
    doubling: float
    slowest_us: int
    disturbances: int
    strikes: float
    changes_rules: bool
    excused: bool

    @property
    def database_lies(self) -> bool:
        return self.kind is not Kind.CRASH

    @property
    def grows(self) -> bool:
        """Whether a change of rules adds a node; liars are counted for the whole list."""
        return not self.liars and self.nodes > 1


def drawn(kind: Kind, seed: int, nodes: int | None = None) -> Scenario:
    """The scenario of a seed."""
    random = Random(f"{kind} {seed}")
    byzantine = kind is Kind.BYZANTINE
    count = nodes or random.choice((4, 4, 4, 4, 5, 7) if byzantine else (1, 2, 3, 3, 3, 4, 5))
    if kind is Kind.DETECTED:
        count = nodes or random.choice((3, 3, 4, 5))
    liars = {Kind.BYZANTINE: (count - 1) // 3, Kind.DETECTED: 1}.get(kind, 0)
    return Scenario(
        kind=kind,
        nodes=count,
        faults=FaultModel.BYZANTINE if byzantine else FaultModel.CRASH,
        liars=liars,
        instances=random.choice((0, 0, 1, 3)),
        loss=random.choice((0.0, 0.02, 0.15) if not liars else (0.0, 0.0, 0.05)),
        doubling=random.choice((0.0, 0.2)),
        slowest_us=random.choice((20, 100, 100 if liars else 700)) * MS,
        disturbances=random.randrange(2, 10),
        strikes=random.choice((0.05, 0.1, 0.4) if liars else (0.03, 0.06, 0.2)),
        changes_rules=random.random() < 0.25,
        excused=kind is Kind.DETECTED,
    )


CHAOS_US = 9 * SECOND
"""How long things go wrong."""


def disturb(world: World) -> None:
    """Spread what goes wrong over the time in which things go wrong."""
    random, scenario = world.loop.random, world.scenario
    world.network.loss, world.network.doubling = scenario.loss, scenario.doubling
    world.network.slowest_us = scenario.slowest_us
    what: list[Callable[[World], None]] = [crash, crash, freeze, freeze, elect, elect, cut, etcd]
    if world.genesis.rules.quorum > scenario.liars + 1:
        what.append(jump)
    if scenario.database_lies:
        what += [lie, lie, lie]
        world.loop.after(0, lambda: lie(world))
    if scenario.kind is Kind.DATABASE:
        what.append(restore)
    for _ in range(scenario.disturbances):
        happen = random.choice(what)
        world.loop.after(random.randrange(CHAOS_US), partial(happen, world))


def strike(world: World, node: Node) -> None:
    """What goes wrong likes to go wrong around a signature or a commit."""
    if world.serving and world.loop.random.random() < world.scenario.strikes:
        world.loop.random.choice((crash, crash, freeze))(world, node, steps=4)


def crash(world: World, node: Node | None = None, steps: int = 40) -> None:
    """Somebody dies, some steps from now, and comes back soon or late."""
    random, struck = world.loop.random, node or world.anybody()
    away_us = random.choice((50 * MS, 500 * MS, 4 * SECOND))

    def die() -> None:
        struck.crash()
        world.loop.after(away_us, lambda: world.restart(struck))

    struck.light(random.randrange(steps), die)


def freeze(world: World, node: Node | None = None, steps: int = 40) -> None:
    """Somebody stops, some steps from now; another is elected, and it goes on as if nothing were."""
    random, struck = world.loop.random, node or world.anybody()

    def stop() -> None:
        struck.freeze(random.randrange(300 * MS, 5 * SECOND))
        world.loop.after(200 * MS, lambda: elect(world))

    struck.light(random.randrange(steps), stop)


def elect(world: World) -> None:
    """etcd changes its mind about who leads; whoever did does not hear of it at once."""
    liars = [node for node in world.nodes if node.name in world.liars]
    elected = world.loop.random.choice(liars or world.nodes)
    world.etcd.elect(elected.name)


def cut(world: World) -> None:
    """Messages from one to another no longer arrive; the way back may be open."""
    random = world.loop.random
    ends = (world.anybody().name, random.choice((*world.names, SERVICE)))
    way = ends if random.random() < 0.5 else ends[::-1]
    world.network.cuts.add(way)
    world.loop.after(random.randrange(1 * SECOND, 6 * SECOND), lambda: world.network.cuts.discard(way))


def jump(world: World) -> None:
    """One clock is wrong for a while; only one, for what a quorum believes is the time."""
    random = world.loop.random
    for node in world.nodes:
        node.clock_off_us = 0
    off_us = random.choice((300 * MS, 1900 * MS, 3 * SECOND, 3600 * SECOND))
    world.anybody().clock_off_us = off_us * random.choice((-1, 1))


def etcd(world: World) -> None:
    """The election is forgotten, or everybody is told that it won."""
    world.etcd.wipe()
    world.etcd.says_yes_to_all = world.loop.random.random() < 0.6


def lie(world: World) -> None:
    """The database begins to lie in some ways, and may stop later."""
    random = world.loop.random
    possible = (Lie.FORK, Lie.FORK, Lie.FORK, Lie.MANGLED, Lie.STALE) if world.liars else tuple(Lie)
    choice = random.sample(possible, random.randrange(1, 3))
    world.database.lies = frozenset(choice)
    if random.random() < 0.3:
        world.loop.after(random.randrange(4 * SECOND), world.database.be_honest)


def restore(world: World) -> None:
    """The database is put back to what it was some time ago."""
    backup = world.database.back_up()
    delay_us = world.loop.random.randrange(500 * MS, 6 * SECOND)
    world.loop.after(delay_us, lambda: world.database.restore(backup))
