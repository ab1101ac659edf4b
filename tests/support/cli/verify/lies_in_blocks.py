"""Blocks that nodes seal although they break a rule, and what a verifier must find in each record."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from tests.support.cli.verify.forger import Forger, sha256
from tests.support.cli.verify.leaves import INSTANCE, begun, lived, standing, standing_instance, version_row

SOMEBODY = "01900000-0000-7000-8000-0000000000ff"
NOTHING = "00" * 32
ROWS = (version_row(), standing())


def blocks(*changed: dict[str, Any], **parameters: Any) -> Forger:
    """A block for each of these changes to a true one; the first has a leaf."""
    forger = Forger(**parameters)
    for place, change in enumerate(changed):
        forger.seal({} if place else {"node-1": [begun()]}, **change)
    return forger


def sealed(*changed: dict[str, Any], **parameters: Any) -> bytes:
    return blocks(*changed, **parameters).close(*ROWS)


def edited(place: int, *path: str | int, value: object) -> bytes:
    """A record of one block in which a value was replaced that somebody has signed, or not."""
    forger = blocks({})
    target: Any = forger.lines[place]
    for key in path[:-1]:
        target = target[key]
    is_new = isinstance(target, dict) and path[-1] not in target
    target[path[-1]] = value
    if is_new:  # a record writes the keys of its parameters in order
        ordered = sorted(target.items())
        target.clear()
        target.update(ordered)
    return forger.close(*ROWS)


LOOSER = Forger(tolerance=200_000)
NEW_RULES = {"validators": LOOSER.validators, "parameters": LOOSER.parameters}
WANTED = {node: {"wants": LOOSER.rules_hash().hex()} for node in LOOSER.nodes}
NEWER = Forger(v=3, protocol=2)
NEWER_RULES = {"validators": NEWER.validators, "parameters": NEWER.parameters}
NEWER_WANTED = {node: {"wants": NEWER.rules_hash().hex()} for node in NEWER.nodes}
OLDER_RULES = {"validators": Forger().validators, "parameters": Forger().parameters}
OLDER_WANTED = {node: {"wants": Forger().rules_hash().hex()} for node in NEWER.nodes}
NOT_SIGNED = "the report of node-1 is not what node-1 signed: its leaves, instances or numbers differ"
ANOTHER_TREE = "its leaves do not make the tree that was voted for: node-1 1–1"
TREE_OF_ITS_ROW = "the tree in its row is not the one its leaves make"
BLOCKS: dict[str, tuple[bytes, list[str]]] = {
    "a term that goes down": (
        sealed({"header": {"term": 0}}),
        ["block 1: its term or its time went back"],
    ),
    "a time that goes back": (
        sealed({}, {"header": {"time_us": 1}}),
        ["block 2: its term or its time went back"],
    ),
    "a block that follows another": (
        sealed({}, {"header": {"previous": NOTHING}, "row": {"previous": NOTHING}}),
        ["block 2: does not follow block 1: what comes between them is missing or was changed"],
    ),
    "a block decided by others": (
        sealed({"header": {"validators": NOTHING}}),
        ["block 1: was decided under other rules than those in force"],
    ),
    "a block decided by other parameters": (
        sealed({"header": {"parameters": NOTHING}}),
        ["block 1: was decided under other rules than those in force"],
    ),
    "a row with another hash": (
        sealed({"row": {"hash": NOTHING}}),
        [f"block 1: the hash in its row is '{NOTHING}', in its header '{blocks({}).hash.hex()}'"],
    ),
    "a row with another block before": (
        sealed({"row": {"previous": NOTHING}}),
        [f"block 1: the previous in its row is '{NOTHING}', in its header '{Forger().hash.hex()}'"],
    ),
    "a row with another term": (
        sealed({"row": {"term": 2}}),
        ["block 1: the term in its row is 2, in its header 1"],
    ),
    "a row with another time": (
        sealed({"row": {"at": 2}}),
        ["block 1: the at in its row is 2, in its header 1"],
    ),
    "a row with another size": (
        sealed({"row": {"size": 3}}),
        ["block 1: the size in its row is 3, in its header 2", f"block 1: {TREE_OF_ITS_ROW}"],
    ),
    "a row with another root": (sealed({"row": {"root": NOTHING}}), [f"block 1: {TREE_OF_ITS_ROW}"]),
    "a row with another tree": (sealed({"row": {"tree": NOTHING}}), [f"block 1: {TREE_OF_ITS_ROW}"]),
    "a row with other spans": (
        sealed({"row": {"spans": []}}),
        ["block 1: its row seals [], its header [['node-1', 1, 1, 0]]"],
    ),
    "a tree that begins elsewhere": (
        sealed({"header": {"before_root": NOTHING}}),
        ["block 1: begins with another tree than the blocks before it made"],
    ),
    "another tree": (
        sealed({"header": {"root": NOTHING}}),
        [f"block 1: {ANOTHER_TREE}"],
    ),
    "other reports": (
        sealed({"header": {"reports": NOTHING}}),
        ["block 1: its header names other reports"],
    ),
    "a report of other leaves": (
        sealed({"reports": {"node-1": {"leaves": NOTHING}}}),
        ["block 1: leaves 1 to 1 of node-1 are not those it reported"],
    ),
    "a report of leaves that are sealed": (
        sealed({}, {"reports": {"node-1": {"first": 1}}}),
        ["block 2: node-1 reports leaf 1, but 1 is sealed"],
    ),
    "a report of leaves that the block leaves out": (
        sealed({"reports": {"node-1": {"count": 2}}}),
        ["block 1: seals other leaves than its reports bring"],
    ),
    "a report of more leaves than fit": (
        sealed({"reports": {"node-1": {"count": 10_001}}}),
        ["block 1: node-1 reports leaf 1, but 0 is sealed"],
    ),
    "a report that nobody signed": (
        edited(1, "reports", 0, "wants", value=NOTHING),
        [f"block 1: {NOT_SIGNED}"],
    ),
    "a report of a stranger": (
        edited(1, "reports", 2, "node", value="node-9"),
        ["block 1: has a report of node-9, which is no validator"],
    ),
    "too few reports": (
        sealed({"reporting": ["node-1"]}),
        ["block 1: has reports of 1 nodes; 2 are needed"],
    ),
    "too few reports where nodes may lie": (
        sealed({"reporting": ["node-1", "node-2"]}, nodes=4, faults="byzantine"),
        ["block 1: has reports of 2 nodes; 3 are needed"],
    ),
    "too few votes": (
        sealed({"voting": ["node-1"]}),
        ["block 1: has 1 valid votes of 2 needed"],
    ),
    "too few votes where nodes may lie": (
        sealed({"voting": ["node-1", "node-2"]}, nodes=4, faults="byzantine"),
        ["block 1: has 2 valid votes of 3 needed"],
    ),
    "votes for another block": (
        sealed({"vote": {"block": NOTHING}}),
        [
            *(f"block 1: the vote of node-{number} is not one for this block" for number in (1, 2, 3)),
            "block 1: has 0 valid votes of 2 needed",
        ],
    ),
    "a vote of another term": (
        edited(1, "votes", 0, "term", value=2),
        ["block 1: the vote of node-1 is not one for this block"],
    ),
    "a vote that nobody signed": (
        edited(1, "votes", 0, "signature", value="00" * 64),
        ["block 1: the vote of node-1 is not one for this block"],
    ),
    "a vote with half a signature": (
        edited(1, "votes", 0, "signature", value="00" * 32),
        ["block 1: the vote of node-1 is not one for this block"],
    ),
    "a vote of a stranger": (
        edited(1, "votes", 2, "node", value="node-9"),
        ["block 1: has a vote of node-9, which is no validator"],
    ),
    "rules that nobody wanted": (
        sealed({"rules": NEW_RULES}),
        ["block 1: changes the rules, but only 0 of 2 nodes wanted these"],
    ),
    "rules that too few wanted": (
        sealed({"rules": NEW_RULES, "reports": {"node-1": WANTED["node-1"]}}),
        ["block 1: changes the rules, but only 1 of 2 nodes wanted these"],
    ),
    "a protocol that not all wanted": (
        sealed({"rules": NEWER_RULES, "reports": dict(list(NEWER_WANTED.items())[:2])}),
        ["block 1: changes the rules, but only 2 of 3 nodes wanted these"],
    ),
    "a protocol that is given up": (
        sealed({"rules": OLDER_RULES, "reports": OLDER_WANTED}, v=3, protocol=2),
        ["block 1: goes back from protocol 2 to 1"],
    ),
    "the same rules once more": (
        sealed({"rules": {"validators": Forger().validators, "parameters": Forger().parameters}}),
        ["block 1: changes the rules, but only 3 of 2 nodes wanted these"],
    ),
    "a header that names other rules": (
        sealed({"header": {"next_parameters": NOTHING}}),
        ["block 1: these are not the rules that its header names for the next block"],
    ),
    "a header that names other validators": (
        sealed({"header": {"next_validators": NOTHING}}),
        ["block 1: these are not the rules that its header names for the next block"],
    ),
    "another result": (
        sealed({"header": {"result": NOTHING}}),
        ["block 1: the result in its header is not what its reports make it"],
    ),
    "a result that nothing makes": (
        sealed({"results": [("eve", {})]}),
        [
            "block 1: the result in its header is not what its reports make it",
            "block 1: the result shown for eve is not what its reports make it",
        ],
    ),
    "a founding with another hash": (
        edited(0, "row", "hash", value=NOTHING),
        ["the founding (block 0): its row is not what its rules and its name make it"],
    ),
    "a founding with a size": (
        edited(0, "row", "size", value=1),
        ["the founding (block 0): its row is not what its rules and its name make it"],
    ),
    "a founding with a root": (
        edited(0, "row", "root", value=NOTHING),
        ["the founding (block 0): its row is not what its rules and its name make it"],
    ),
    "a founding with a block before": (
        edited(0, "row", "previous", value=NOTHING),
        ["the founding (block 0): its row is not what its rules and its name make it"],
    ),
    "a founding with a time": (
        edited(0, "row", "at", value=1),
        ["the founding (block 0): its row is not what its rules and its name make it"],
    ),
    "a founding with a header": (
        edited(0, "row", "header", value="00"),
        ["the founding (block 0): its row is not what its rules and its name make it"],
    ),
    "a founding of another height": (
        edited(0, "row", "height", value=1),
        ["the founding (block 0): its row is not that of a founding"],
    ),
    "a founding with a tree": (
        edited(0, "row", "tree", value="00"),
        ["the founding (block 0): its row is not that of a founding"],
    ),
    "a checkpoint of another size": (
        edited(3, "checkpoint", "size", value=9),
        ["checkpoint 9: is about another log or size"],
    ),
    "a checkpoint that is none": (
        edited(3, "checkpoint", "note", value="x"),
        ["checkpoint 2: this is not a checkpoint"],
    ),
}  # fmt: skip


def pack(*rows: tuple[int, int, Sequence[int]]) -> bytes:
    """Instances with the epochs of their hosts and their scores."""
    return b"".join(
        struct.pack(">16sq16i", UUID(int=id_).bytes, epoch, *scores) for id_, epoch, scores in rows
    )


def pseudonyms(previous: bytes, character: str, *owners: int) -> bytes:
    """Whose these instances are, told in the round after this block."""
    tag = b"ccn/owner/v1\n" + previous
    return b"".join(sha256(tag + UUID(int=owner).bytes + character.encode())[:8] for owner in owners)


def alone(character: str, scores: Sequence[int]) -> tuple[str, dict[str, Any]]:
    """What is agreed of a character with one instance."""
    body = {
        "character": character, "disputed": [], "drift": [0], "kind": "result", "median": list(scores),
        "outliers": [], "owners": 1, "v": 2, "weights": "owner",
    }  # fmt: skip
    return character, body


def disputed(character: str) -> tuple[str, dict[str, Any]]:
    """What is agreed of a character whose one instance is named elsewhere too."""
    _, body = alone(character, [])
    nothing = {"disputed": [0], "drift": [1_000_000], "median": [None] * 16, "owners": 0}
    return character, body | nothing


def hosting(packed: bytes, owners: bytes = bytes(8), **changed: Any) -> bytes:
    return sealed({"rosters": {"node-1": {"ada": (packed, owners)}}} | changed)


EVEN = [500_000] * 16
ONE = pack((1, 0, EVEN))
FOUNDED = Forger().hash
ROSTERS: dict[str, tuple[bytes, list[str]]] = {
    "a row that is cut off": (
        hosting(ONE[:-1]),
        ["block 1: the roster of node-1 for ada: a row is cut off"],
    ),
    "half an owner": (
        hosting(ONE, bytes(4)),
        ["block 1: the roster of node-1 for ada: 1 instances have 4 bytes of owners"],
    ),
    "instances without owners": (
        hosting(ONE, b""),
        ["block 1: the roster of node-1 for ada: 1 instances have 0 bytes of owners"],
    ),
    "owners where the rules know none": (
        sealed({"rosters": {"node-1": {"ada": (ONE, bytes(8))}}}, weighing=None),
        ["block 1: the roster of node-1 for ada: 1 instances have 8 bytes of owners"],
    ),
    "instances that descend": (
        hosting(pack((2, 0, EVEN), (1, 0, EVEN)), bytes(16)),
        ["block 1: the roster of node-1 for ada: its rows are not in ascending order"],
    ),
    "an instance twice in a roster": (
        hosting(ONE + ONE, bytes(16)),
        ["block 1: the roster of node-1 for ada: its rows are not in ascending order"],
    ),
    "an epoch below 0": (
        hosting(pack((1, -1, EVEN))),
        ["block 1: the roster of node-1 for ada: an epoch or a score is out of range"],
    ),
    "a score above a million": (
        hosting(pack((1, 0, [1_000_001] * 16))),
        ["block 1: the roster of node-1 for ada: an epoch or a score is out of range"],
    ),
    "a score below none": (
        hosting(pack((1, 0, [-2] * 16))),
        ["block 1: the roster of node-1 for ada: an epoch or a score is out of range"],
    ),
    "an instance in two rosters of a node": (
        sealed(
            {
                "rosters": {"node-1": {"ada": (ONE, bytes(8)), "bob": (ONE, bytes(8))}},
                "results": [disputed("ada"), disputed("bob")],
            }
        ),
        ["block 1: has a report of node-1 that names an instance twice"],
    ),
    "a roster of a node that reported nothing": (
        sealed({"rosters": {"node-3": {"ada": (ONE, bytes(8))}}, "reporting": ["node-1", "node-2"]}),
        ["block 1: has a roster of node-3, which reported nothing"],
    ),
    "a roster without its result": (
        hosting(ONE),
        [
            "block 1: the result in its header is not what its reports make it",
            "block 1: the result shown for a character is not what its reports make it",
        ],
    ),
    "a result of another instance": (
        hosting(ONE, results=[alone("ada", [1] * 16)]),
        [
            "block 1: the result in its header is not what its reports make it",
            "block 1: the result shown for ada is not what its reports make it",
        ],
    ),
}  # fmt: skip


def owned(owner: int, *, before: bool) -> bytes:
    """A block with a life of an instance, and before or after it one that says whose it is."""
    forger = Forger()
    packed = pack((UUID(INSTANCE).int, 0, EVEN))

    def host() -> None:
        rosters = {"node-1": {"ada": (packed, pseudonyms(forger.hash, "ada", owner))}}
        forger.seal(rosters=rosters, results=[alone("ada", EVEN)])

    if before:
        host()
    forger.seal({"node-1": [begun(), lived()]})
    if not before:
        host()
    return forger.close(*ROWS, standing_instance())


TO_SOMEBODY = f"the roster of node-1 gives instance {INSTANCE} to somebody else than its owner"
ROSTERS |= {
    "an instance of somebody else": (
        owned(UUID(SOMEBODY).int, before=False),
        [f"block 2: {TO_SOMEBODY}"],
    ),
    "an instance of nobody": (owned(0, before=False), [f"block 2: {TO_SOMEBODY}"]),
    "an instance of somebody else, whose life is sealed later": (
        owned(UUID(SOMEBODY).int, before=True),
        [f"block 1: {TO_SOMEBODY}"],
    ),
}

NAMES = [["node-1", "11" * 32], ["node-2", "22" * 32]]
HEADERS: dict[str, tuple[bytes, list[str]]] = {
    name: (sealed({"header": header}), [f"block 1: {what}"])
    for name, header, what in (
        ("a header with a field too many", {"note": 1}, "its header does not have the fields of one"),
        ("a header with another letter", {"n\u00f6te": 1}, "these are not canonical bytes"),
        ("a header with half a hash", {"root": "00"}, "a hash in its header is none"),
        ("a header with a number for a hash", {"root": 0}, "a hash in its header is none"),
        ("a header with a number below 0", {"term": -1}, "a number in its header is none"),
        (
            "a header with a span that ends early",
            {"spans": [["node-1", 2, 1]]},
            "the spans in its header are none",
        ),
        ("a header with a leaf 0", {"spans": [["node-1", 0, 0]]}, "the spans in its header are none"),
        ("a header with half a span", {"spans": [["node-1", 1]]}, "the spans in its header are none"),
        ("a header that counts more", {"size": 2}, "its header does not count its leaves"),
        (
            "a header with a node twice",
            {"spans": [["node-1", 1, 1], ["node-1", 2, 2]], "size": 2},
            "its header does not count its leaves",
        ),
        (
            "a header with too many leaves",
            {"spans": [["node-1", 1, 10_001]], "size": 10_001},
            "its header does not count its leaves",
        ),
        ("a header of another kind", {"kind": "vote"}, "its header is not one"),
        ("a header of another form", {"v": 2}, "its header is not one"),
        ("a header with a number for a leader", {"leader": 1}, "its header is not one"),
    )
}  # fmt: skip
HEADERS["a header that is no object"] = (
    edited(1, "block", value="AAAA"),
    ["block 1: its header is not canonical JSON"],
)
RULES: dict[str, tuple[bytes, list[str]]] = {
    name: (edited(0, *path, value=value), [f"the founding (block 0): {what}"])
    for name, path, value, what in (
        ("nobody who votes", ["validators", "validators"], [], "0 validators are too few or too many"),
        ("too many who vote", ["validators", "validators"],
         [[f"node-{number:02}", f"{number:064x}"] for number in range(65)],
         "65 validators are too few or too many"),
        ("too few where nodes may lie", ["parameters", "faults"], "byzantine",
         "3 validators are too few or too many"),
        ("a text for validators", ["validators", "validators"], "", "these are no validators"),
        ("a validator without a key", ["validators", "validators"], [["node-1"]],
         "these are no validators"),
        ("a validator with half a key", ["validators", "validators"], [["node-1", "00"]],
         "'node-1' is no validator"),
        ("a validator with capitals", ["validators", "validators"], [["Ann", "11" * 32]],
         "'Ann' is no validator"),
        ("validators that descend", ["validators", "validators"], NAMES[::-1],
         "the validators are not listed once each, in order"),
        ("a key of two validators", ["validators", "validators"], [["a", "11" * 32], ["b", "11" * 32]],
         "the validators are not listed once each, in order"),
        ("faults of no kind", ["parameters", "faults"], "none", "these are no parameters"),
        ("a tolerance that is a text", ["parameters", "tolerance"], "0", "these are no parameters"),
        ("a weighing of no kind", ["parameters", "weighing"], "nodes",
         "what these parameters weigh is not known"),
        ("parameters of another form", ["parameters", "v"], 1, "what these parameters weigh is not known"),
        ("a protocol without a name", ["parameters", "v"], 3,
         "these parameters do not name the protocol as their version does"),
        ("a protocol that is always there", ["parameters", "protocol"], 1,
         "these parameters do not name the protocol as their version does"),
        ("a protocol that is a text", ["parameters", "protocol"], "2",
         "these parameters do not name the protocol as their version does"),
    )
}  # fmt: skip
RULES["a log without a name"] = (
    edited(0, "origin", value="!"),
    ["the founding (block 0): '!' is not the name of a log", "checkpoint 2: is about another log or size"],
)
