"""One run: a cluster, a database, etcd and a network, driven by a seed from genesis through chaos to peace.

In peace everything honest works again: messages arrive, nodes are up, clocks are right, the database and
etcd tell the truth. The liars have fallen silent. Then whatever can be sealed has to be sealed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ccn.core.chain import block, checkpoint
from ccn.core.chain.block import Tip
from ccn.core.chain.rules import Parameters, Rules
from ccn.core.chain.rules import Validator as Listed
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Signed
from ccn.core.rounds import evidence
from ccn.core.rounds.evidence import Cosigned
from ccn.core.rounds.intake import RefusedReports
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Reason
from tests.cluster.simulation import scenario
from tests.cluster.simulation.checks import detection
from tests.cluster.simulation.checks.invariants import Invariant, Violation, Witness
from tests.cluster.simulation.loop import SECOND, START_US, Loop
from tests.cluster.simulation.nodes.conduct import Conduct
from tests.cluster.simulation.nodes.liar import Liar
from tests.cluster.simulation.nodes.node import Node
from tests.cluster.simulation.nodes.reader import Reader
from tests.cluster.simulation.nodes.validator import Validator
from tests.cluster.simulation.scenario import CHAOS_US, Scenario
from tests.cluster.simulation.services.etcd import Etcd
from tests.cluster.simulation.services.keys import HashedKeys
from tests.cluster.simulation.services.lying_database import LyingDatabase
from tests.cluster.simulation.services.network import Network

_PEACE_US = 40 * SECOND
_CHANGE_US = 4 * SECOND


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    violations: tuple[Violation, ...]
    height: int
    finals: tuple[bytes, ...]
    refusals: frozenset[Reason]
    alarms: frozenset[Reason]
    convicted: frozenset[NodeId]


class World:
    """Everything there is."""

    def __init__(self, seed: int, drawn: Scenario, conduct: Conduct, keys: HashedKeys) -> None:
        self.loop, self.scenario, self.conduct = Loop(seed), drawn, conduct
        self.keys, self.check = keys, keys.check
        self.names = [NodeId(f"node-{number}") for number in range(1, drawn.nodes + 1)]
        self.liars = frozenset(self.loop.random.sample(self.names, drawn.liars))
        honest = [name for name in self.names if name not in self.liars]
        self.misled = frozenset(self.loop.random.sample(honest, len(honest) // 2))
        self.everyone = self._rules(self.names)
        founders = self.names[:-1] if drawn.changes_rules and drawn.grows else self.names
        self.genesis: Tip = block.genesis_tip("ccn.example/simulated", self._rules(founders))
        self.witness = Witness(self.genesis, self.check)
        self.network, self.etcd = Network(self.loop), Etcd(self.loop)
        self.database = LyingDatabase(conduct, self.witness, self.loop.random, self.misled)
        self.cosigned = dict[tuple[str, bytes], Signed[Cosigned]]()
        self.acknowledged: dict[tuple[NodeId, int], bytes] = {}
        self.serving = True
        self.refusals = set[Reason]()
        self.nodes: Sequence[Node] = [
            (Liar if name in self.liars else Validator)(self, name) for name in self.names
        ]

    def run(self) -> Outcome:
        """From genesis to the end."""
        for node in self.nodes:
            node.start()
        scenario.disturb(self)
        self.loop.run(self.loop.now_us + CHAOS_US)
        self._make_peace()
        end_us = self.loop.now_us + _PEACE_US
        while self.loop.now_us < end_us and not self._settled():
            self.loop.run(self.loop.now_us + SECOND)
        convicted = detection.conclude(self)
        for node in self.nodes:
            node.crash()
        return Outcome(
            violations=tuple(self.witness.violations),
            height=len(self.database.chain),
            finals=tuple(found for finals in self.witness.finals.values() for found in finals),
            refusals=frozenset(self.refusals),
            alarms=frozenset(alarm.reason for node in self.honest for alarm in node.alarms),
            convicted=frozenset(convicted),
        )

    @property
    def honest(self) -> list[Node]:
        return [node for node in self.nodes if node.name not in self.liars]

    def anybody(self) -> Node:
        return self.loop.random.choice(self.nodes)

    def validators(self, tip: Tip) -> list[Node]:
        """The nodes that vote on top of this tip."""
        return [node for node in self.nodes if tip.rules.key_of(node.name) is not None]

    def wanted(self, tip: Tip) -> Rules:
        """The rules that everybody would like: from some moment on, others than in the beginning."""
        if not self.scenario.changes_rules or self.loop.now_us < START_US + _CHANGE_US:
            return tip.rules
        return replace(self.everyone, parameters=replace(self.everyone.parameters, tolerance=200_000))

    def restart(self, node: Node) -> None:
        """Bring a dead node back; one that has not died by now will live."""
        if node.alive:
            node.calm()
        elif self.serving or node.name not in self.liars:
            node.start()

    def cosign(self, node: Reader, shown: ShownBlock, before: Tip, after: Tip) -> None:
        """A cosignature leaves a node; the liars add theirs to whatever there is."""
        head = after.checkpoint()
        self.witness.cosigned(node.name, shown, before, head)
        lines = [
            checkpoint.cosign(head, name, pair.public, shown.header.time_us // SECOND, pair.sign)
            for name, pair in ((name, self.keys.pair(name)) for name in (node.name, *sorted(self.liars)))
        ]
        self.witness.stood_for(shown.header, head, lines, before.rules)
        for line in lines:
            if (line.name, after.hash) not in self.cosigned:
                tree = before.tree.extend(shown.leaves)
                said = evidence.cosigned_from_signature(line, before.origin, shown.header, tree)
                self.cosigned[line.name, after.hash] = said

    def left_out(self, refused: RefusedReports) -> None:
        """An honest leader did not take some of the reports it was given."""
        for name, refusal in refused:
            if name not in self.liars:
                self.witness.saw(Invariant.SILENCED, f"{name}: {refusal.detail}")

    def lost(self, node: Node) -> bool:
        """Whether this node stands for a block that the true chain does not have."""
        height, known = node.signer.height, self.database.chain
        return height > 0 and (height > len(known) or known[height - 1].hash != node.signer.block)

    def _make_peace(self) -> None:
        self.network.heal()
        self.etcd.says_yes_to_all = self.serving = False
        self.database.be_honest()
        if self.liars:
            self.etcd.wipe()
        for node in self.nodes:
            node.calm()
            if node.name in self.liars:
                node.crash()
            elif not node.alive:
                node.start()

    def _settled(self) -> bool:
        last = dict[NodeId, int]()
        for node, number in () if self.database.was_restored else self.acknowledged:
            last[node] = max(number, last.get(node, 0))
        height = len(self.database.chain)
        return all(
            node.alarm is not None
            if self.lost(node)
            else node.tip.height == height and node.tip.last_sealed(node.name) >= last.get(node.name, 0)
            for node in self.honest
        )

    def _rules(self, names: Sequence[NodeId]) -> Rules:
        listed = sorted(Listed(name, self.keys.pair(name).public) for name in names)
        return self.conduct.rules(tuple(listed), Parameters("tier-1/v1", self.scenario.faults))
