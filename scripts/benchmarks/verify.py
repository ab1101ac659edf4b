"""How fast an exported record is verified, beside SHA-256 over the bytes of the same file.

The record is made by the rules themselves, without a database: three nodes, and in each block a thousand
messages of four hundred characters. The floor has one core; so has the first figure. The second is what
`ccn-verify` does with a file of this size, with other processes to look at the lines.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import orjson
from nacl.signing import SigningKey

from ccn.cli import verify
from ccn.core.chain import block, checkpoint
from ccn.core.chain.block import Tip
from ccn.core.chain.report import Report
from ccn.core.chain.rules import Parameters, Rules, Validator
from ccn.core.ids import NodeId
from ccn.core.ledger import commitment, merkle, note, signed
from ccn.core.ledger.commitment import Fields, Leaf, LeafKind
from ccn.core.ledger.signed import Sign
from ccn.core.rounds import ballot
from ccn.core.rounds.ballot import Draft, TermLeader, Vote
from ccn.node.signing import signing_key
from scripts.benchmarks import harness

NODES = [NodeId(f"node-{number}") for number in (1, 2, 3)]
BLOCK = 1_000
HERE = str(UUID(int=1))
WORDS = "What is kept is kept as it was said. " * 11


async def run(rounds: int, rows: int = 100_000) -> harness.Report:
    """Verify and hash the same file in turns."""
    with tempfile.NamedTemporaryFile(prefix="ccn-bench-") as file:
        file.writelines(lines(min(rows, 100_000)))
        file.seek(0)
        record = file.read()

        async def hashed() -> float:
            return _rate(record, lambda: hashlib.sha256(record).digest())

        def verified(workers: int) -> harness.Contender:
            async def contender() -> float:
                return _rate(record, lambda: _verify(Path(file.name), workers))

            return contender

        workers = verify.count_workers(len(record))
        helped = {"helped": verified(workers)} if workers else {}
        rivals = {"sha256": hashed, "alone": verified(0)} | helped
        got = await harness.measure(rounds, rivals)
    names = {"alone": "verify an export, one process", "helped": f"the same, {workers} more processes"}
    figures = [
        harness.Figure(name, "MB/s", got.of[rival], got.of["sha256"], goal=0.4, trials=rounds)
        for rival, name in names.items()
        if rival in rivals
    ]
    return harness.Report(figures, [got])


def _verify(name: Path, workers: int) -> None:
    with name.open("rb") as record:
        audit = verify.verify(record, workers=workers)
    if audit.code != verify.VERIFIED:
        raise AssertionError(verify.render_text(audit, "the benchmark's record"))


def lines(messages: int) -> Iterator[bytes]:
    """An export of so many messages."""
    signs = {node: _sign(node) for node in NODES}
    listed = tuple(sorted(Validator(node, _key(node).verify_key.encode()) for node in NODES))
    rules = Rules(listed, Parameters("tier-1/v1"))
    tip = block.genesis_tip("ccn.example/bench", rules)
    count = 0
    for line in _record(tip, rules, signs, messages):
        count += 1
        yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    yield orjson.dumps({"end": {"lines": count}}, option=orjson.OPT_APPEND_NEWLINE)


def _record(tip: Tip, rules: Rules, signs: dict[NodeId, Sign], messages: int) -> Iterator[Fields | object]:
    yield {
        "record": "ccn", "version": 2, "origin": tip.origin,
        "validators": orjson.loads(rules.validators_body()),
        "parameters": orjson.loads(rules.parameters.body()),
        "row": {
            "height": 0, "hash": tip.hash.hex(), "previous": None, "term": 1, "at": 0, "size": 0,
            "root": merkle.EMPTY.hex(), "tree": None, "header": "",
        },
    }  # fmt: skip
    number = 1
    begun: Fields = {
        "at": 1, "character": "ada", "conversation": HERE, "owner": None, "plate": None,
        "status": "open", "version": 1,
    }  # fmt: skip
    leaves = [commitment.make_leaf(NODES[0], 1, LeafKind.CONVERSATION, begun)]
    while number <= messages:
        shown: list[dict[str, object]] = [{}] * len(leaves)
        while len(leaves) < BLOCK and number <= messages:
            salt = number.to_bytes(commitment.SALT_BYTES, "big")
            leaves.append(_message(number, salt))
            shown.append({"content": WORDS, "salt": salt.hex()})
            number += 1
        tip, written = _sealed(tip, leaves, signs)
        yield written
        for leaf, more in zip(leaves, shown, strict=True):
            yield {"leaf": orjson.loads(leaf.body), **more}
        yield {"checkpoint": _checkpoint(tip, signs)}
        leaves = []
    names = ("conversation", "version", "at", "plate", "status", "character", "owner")
    yield {"conversation": {name: begun[name] for name in names}}
    standing = {"conversation": HERE, "version": 1, "status": "open", "plate": None, "head": messages}
    yield {"standing": standing}


def _message(seq: int, salt: bytes) -> Leaf:
    fields: Fields = {
        "at": seq, "content": commitment.commit_content(salt, WORDS).hex(), "conversation": HERE,
        "epoch": 0,        "role": "user", "seq": seq, "speaker": f"account:{UUID(int=2)}", "turn": None,
    }  # fmt: skip
    return commitment.make_leaf(NODES[0], seq + 1, LeafKind.MESSAGE, fields)


def _sealed(tip: Tip, leaves: Sequence[Leaf], signs: dict[NodeId, Sign]) -> tuple[Tip, object]:
    """One round of the three nodes, of which the first has leaves."""
    hashes = b"".join(leaf.hash for leaf in leaves)
    reports = [
        signed.sign_statement(
            Report(
                node, tip.height + 1, 1, tip.hash, (), tip.last_sealed(node) + 1,
                hashes if node == NODES[0] else b"", tip.rules.hash(),
            ),
            signs[node],
        )
        for node in NODES
    ]  # fmt: skip
    made = ballot.propose(
        reports, TermLeader(NODES[0], tip, 1, tip.rules), tip.time_us + 1, signing_key.check_signature
    )
    if not isinstance(made, Draft):
        raise TypeError(f"no block was made: {made}")
    header = made.block.header
    after = block.advance_tip(tip, header, tip.tree.extend(made.block.leaves), tip.rules)
    votes = [
        signed.sign_statement(Vote(node, header.height, 1, header.hash()), signs[node]) for node in NODES
    ]
    return after, {
        "block": orjson.loads(header.body()),
        "row": {
            "height": header.height, "hash": after.hash.hex(), "previous": tip.hash.hex(), "term": 1,
            "at": header.time_us, "size": after.tree.size, "root": after.tree.root().hex(),
            "tree": after.tree.to_bytes().hex(),
            "spans": [[span.node, span.first, span.last, header.before_size] for span in header.spans],
        },
        "reports": [
            {
                "node": each.statement.node, "first": each.statement.first, "count": each.statement.count,
                "leaves": hashlib.sha256(each.statement.leaves).hexdigest(),
                "wants": each.statement.wants.hex(), "signature": each.signature.hex(),
            }
            for each in reports
        ],
        "votes": [
            {"node": each.statement.node, "height": header.height, "term": 1, "hash": after.hash.hex(),
             "signature": each.signature.hex()}
            for each in votes
        ],
        "results": [],
    }  # fmt: skip


def _checkpoint(tip: Tip, signs: dict[NodeId, Sign]) -> object:
    head = tip.checkpoint()
    signatures = [
        checkpoint.cosign(head, node, _key(node).verify_key.encode(), 1, sign)
        for node, sign in signs.items()
    ]
    return {
        "size": head.size,
        "note": head.text(),
        "cosignatures": [[s.name, _line(s)] for s in signatures],
    }


def _line(made: note.Signature) -> str:
    return f"\N{EM DASH} {made.name} {base64.b64encode(made.key_id + made.data).decode()}\n"


def _key(node: NodeId) -> SigningKey:
    return SigningKey(hashlib.sha256(node.encode()).digest())


def _sign(node: NodeId) -> Sign:
    key = _key(node)
    return lambda message: key.sign(message).signature


def _rate(record: bytes, work: object) -> float:
    since = time.perf_counter()
    assert callable(work)
    work()
    return len(record) / 1e6 / (time.perf_counter() - since)
