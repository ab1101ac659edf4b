"""What a round agreed on is computed again: by hand in a few examples, and like a node in many."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from ccn.cli import verify
from ccn.core.chain import result, rules
from ccn.core.chain.roster import Roster
from ccn.core.ids import CharacterId, NodeId
from tests.support.cli.verify.forger import Forger, canonical
from tests.support.cli.verify.leaves import begun, standing, version_row
from tests.support.cli.verify.lies_in_blocks import pack

Hosted = dict[str, dict[str, tuple[bytes, bytes]]]


def judge(forger: Forger, hosted: Hosted, results: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """What is found in a block with these rosters and results."""
    forger.seal({"node-1": [begun()]}, hosted, results=results)
    audit = forger.judge(version_row(), standing())
    return [f"{where}: {what}" for _, where, what in audit.findings.ordered]


@pytest.mark.parametrize(
    ("parameters", "scores", "median"),
    [
        ({}, {"node-1": [(1, 100), (1, 100), (1, 100), (2, 700), (3, 900)]}, 700),
        ({}, {"node-1": [(1, 100), (2, 200)], "node-2": [(3, 300), (4, 400)]}, 200),
        ({"weighing": None}, {"node-1": [(1, 100), (1, 100), (1, 100), (2, 700), (3, 900)]}, 100),
        ({"weighing": None}, {"node-1": [(1, 100), (2, 200)], "node-2": [(3, 300), (4, 400)]}, 200),
        (
            {"weighing": None, "faults": "byzantine"},
            {"node-1": [(1, 100)] * 5, "node-2": [(2, 700)], "node-3": [(3, 900)]},
            700,
        ),
        (
            {"faults": "byzantine"},
            {"node-1": [(1, 100), (2, 110), (3, 120)], "node-2": [(4, 700)], "node-3": [(5, 900)]},
            700,
        ),
    ],
    ids=[
        "owners weigh the same, however many instances they have",
        "of two in the middle the lower one is the median",
        "instances weigh the same where the rules say so",
        "of two instances in the middle the lower one is the median",
        "nodes weigh the same where they may lie",
        "neither owners nor nodes weigh more than one where they may lie",
    ],
)
def test_the_median_of_an_example(
    parameters: dict[str, Any], scores: dict[str, list[tuple[int, int]]], median: int
) -> None:
    forger = Forger(4, **parameters)
    parsed = verify.parse_rules(forger.validators, forger.parameters)
    parts = [
        [
            verify.AuditedRow(UUID(int=100 * node + place).bytes, 0, (score,) * 16, bytes([owner]))
            for place, (owner, score) in enumerate(listed)
        ]
        for node, listed in enumerate(scores.values())
    ]
    claims = {row.id: 1 for part in parts for row in part}
    body = json.loads(verify.compute_result("ada", parts, claims, parsed))
    assert body["median"] == [median] * 16


def test_an_axis_that_nobody_shows_has_no_median_and_counts_for_no_drift() -> None:
    forger = Forger()
    parsed = verify.parse_rules(forger.validators, forger.parameters)
    part = [verify.AuditedRow(bytes(16), 0, (-1, 300_000, *[-1] * 14), bytes(8))]
    body = json.loads(verify.compute_result("ada", [part], {bytes(16): 1}, parsed))
    assert (body["median"][:2], body["drift"], body["owners"]) == ([None, 300_000], [0], 1)


def host(chance: random.Random, nodes: Sequence[str], owners: bool) -> Hosted:
    """Instances of two characters on some nodes, some of them named twice, of few owners and with gaps."""
    hosted: Hosted = {}
    for node in nodes:
        numbers = sorted(chance.sample(range(1, 30), chance.randrange(0, 9)))
        listed: dict[str, list[tuple[int, int, list[int]]]] = {}
        for number in numbers:
            scores = [chance.choice((-1, chance.randrange(1_000_001))) for _ in range(16)]
            listed.setdefault(chance.choice(("ada", "bob")), []).append((number, 0, scores))
        hosted[node] = {
            character: (
                pack(*rows),
                b"".join(bytes([0] * 7 + [chance.randrange(4)]) for _ in rows) if owners else b"",
            )
            for character, rows in listed.items()
        }
    return hosted


@pytest.mark.parametrize("faults", ["crash", "byzantine"])
@pytest.mark.parametrize("weighing", ["owners", None])
def test_every_result_is_the_one_that_a_node_computes(faults: str, weighing: str | None) -> None:
    for seed in range(100):
        chance = random.Random(seed)
        forger = Forger(chance.randrange(4, 8), weighing, faults=faults)
        hosted = host(chance, forger.nodes, weighing is not None)
        by_node = rules.parse_rules(canonical(forger.validators), canonical(forger.parameters))
        rosters = [
            (NodeId(node), Roster(CharacterId(character), packed, owners))
            for node, characters in hosted.items()
            for character, (packed, owners) in sorted(characters.items())
        ]
        agreed = [json.loads(body.body()) for body in result.conclude_round(rosters, by_node)]
        assert judge(forger, hosted, [(body["character"], body) for body in agreed]) == [], seed
