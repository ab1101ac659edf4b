"""Nodes that sign whatever they are told, and the record of it, written from the page alone.

The owner of a database can change rows and cannot sign. This is the other half: every signature is good, so
that only the rules of a record can find what is wrong in it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from nacl.signing import SigningKey

from ccn.cli import verify

ORIGIN = "ccn.example/forged"

Fields = Mapping[str, Any]
Leaf = tuple[dict[str, Any], dict[str, Any]]
"""A body without its node and number, and what is shown beside it."""
Rosters = Mapping[str, Mapping[str, tuple[bytes, bytes]]]
"""By node and character the packed rows and the owners."""


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def canonical(fields: object) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def statement(kind: str, fields: Fields) -> bytes:
    return f"ccn/{kind}/v1\n".encode() + canonical(fields)


def root(leaves: Sequence[bytes]) -> bytes:
    """As RFC 6962 defines it."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"")
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + root(leaves[:middle]) + root(leaves[middle:]))


def peaks(leaves: Sequence[bytes]) -> list[bytes]:
    """The roots of the perfect parts, the largest first."""
    if not leaves:
        return []
    largest = 1 << len(leaves).bit_length() - 1
    return [root(leaves[:largest]), *peaks(leaves[largest:])]


class Forger:
    """A cluster that seals what it is given, and the lines of its record."""

    def __init__(self, nodes: int = 3, weighing: str | None = "owners", **parameters: object) -> None:
        self.nodes = [f"node-{number}" for number in range(1, nodes + 1)]
        self.keys = {node: SigningKey(sha256(node.encode())) for node in self.nodes}
        self.validators: dict[str, Any] = {
            "kind": "validators",
            "v": 1,
            "validators": [[node, key.verify_key.encode().hex()] for node, key in self.keys.items()],
        }
        self.parameters: dict[str, Any] = {
            "clock_ms": 2000, "faults": "crash", "interval_ms": 60_000, "kind": "parameters",
            "limit_ms": 5000, "scorer": "tier-1/v1", "smoothing": 1, "tolerance": 100_000, "v": 1,
        }  # fmt: skip
        if weighing is not None:
            self.parameters |= {"v": 2, "weighing": weighing}
        self.parameters = dict(sorted((self.parameters | parameters).items()))
        self.leaves: list[bytes] = []
        self.sealed = dict.fromkeys(self.nodes, 0)
        self.height = 0
        self.lines: list[dict[str, Any]] = [self._found()]

    def rules_hash(self, parameters: Fields | None = None) -> bytes:
        """As reports name rules."""
        return sha256(sha256(canonical(self.validators)) + sha256(canonical(parameters or self.parameters)))

    def _rules(self) -> dict[str, str]:
        return {
            "parameters": sha256(canonical(self.parameters)).hex(),
            "validators": sha256(canonical(self.validators)).hex(),
        }

    def _found(self) -> dict[str, Any]:
        self.hash = sha256(statement("genesis", self._rules() | {"origin": ORIGIN}))
        row = {
            "height": 0, "hash": self.hash.hex(), "previous": None, "term": 1, "at": 0, "size": 0,
            "root": sha256(b"").hex(), "tree": None, "header": "",
        }  # fmt: skip
        return {
            "record": "ccn", "version": 2, "origin": ORIGIN, "validators": self.validators,
            "parameters": self.parameters, "row": row,
        }  # fmt: skip

    def seal(
        self,
        leaves: Mapping[str, Sequence[Leaf]] | None = None,
        rosters: Rosters | None = None,
        *,
        results: Sequence[tuple[str, Fields]] = (),
        reports: Mapping[str, Fields] | None = None,
        header: Fields | None = None,
        row: Fields | None = None,
        vote: Fields | None = None,
        reporting: Sequence[str] | None = None,
        voting: Sequence[str] | None = None,
        cosigning: Sequence[str] | None = None,
        rules: Fields | None = None,
    ) -> None:
        """Append a block, its leaves and its checkpoint. What is given replaces what would be true."""
        self.height += 1
        bodies = {
            node: [
                (body | {"node": node, "number": self.sealed[node] + place}, beside)
                for place, (body, beside) in enumerate((leaves or {}).get(node, ()), 1)
            ]
            for node in self.nodes
        }
        hashes = {
            node: [sha256(b"\0" + canonical(body)) for body, _ in listed] for node, listed in bodies.items()
        }
        reporting = self.nodes if reporting is None else reporting
        shown, signed = self._report(reporting, hashes, rosters or {}, reports or {}, header or {})
        spans: list[tuple[str, int, int]] = [
            (node, self.sealed[node] + 1, self.sealed[node] + len(listed))
            for node, listed in bodies.items()
            if listed
        ]
        before = len(self.leaves)
        start = before
        row_spans: list[list[Any]] = []
        for node, first, last in spans:
            row_spans.append([node, first, last, start])
            start += last - first + 1
        self.leaves += [each for node in self.nodes for each in hashes[node]]
        following = rules or {"parameters": self.parameters, "validators": self.validators}
        made = {
            "before_root": root(self.leaves[:before]).hex(), "before_size": before, "height": self.height,
            "kind": "block", "leader": "node-1",
            "next_parameters": sha256(canonical(following["parameters"])).hex(),
            "next_validators": sha256(canonical(following["validators"])).hex(),
            "previous": self.hash.hex(), "reports": root([sha256(b"\0" + each) for each in signed]).hex(),
            "result": sha256(
                b"ccn/result/v1\n" + b"\n".join(canonical(body) for _, body in results)
            ).hex(),
            "root": root(self.leaves).hex(), "size": len(self.leaves), "spans": spans, "term": 1,
            "time_us": self.height, "v": 1,
        } | self._rules() | dict(header or {})  # fmt: skip
        previous, self.hash = self.hash, sha256(b"\0" + canonical(made))
        self.leaves.append(self.hash)
        tree = len(self.leaves).to_bytes(8, "big") + b"".join(peaks(self.leaves))
        line: dict[str, Any] = {
            "block": dict(sorted(made.items())),
            "row": {
                "height": made["height"], "hash": self.hash.hex(), "previous": previous.hex(),
                "term": made["term"], "at": made["time_us"], "size": len(self.leaves),
                "root": root(self.leaves).hex(), "tree": tree.hex(), "spans": row_spans,
            } | dict(row or {}),
            "reports": shown,
            "votes": [
                self._vote(node, made, vote or {}) for node in (self.nodes if voting is None else voting)
            ],
            "results": [[character, dict(sorted(body.items()))] for character, body in results],
        }  # fmt: skip
        if rules is not None:
            line["rules"] = {"validators": rules["validators"], "parameters": rules["parameters"]}
            self.validators, self.parameters = rules["validators"], rules["parameters"]
        self.lines.append(line)
        for node, listed in sorted((rosters or {}).items()):
            for character, (packed, owners) in sorted(listed.items()):
                roster = {"node": node, "character": character, "packed": base64.b64encode(packed).decode()}
                if owners:
                    roster["owners"] = base64.b64encode(owners).decode()
                self.lines.append({"roster": roster})
        for node in self.nodes:
            for body, beside in bodies[node]:
                self.lines.append({"leaf": dict(sorted(body.items())), **beside})
            self.sealed[node] += len(bodies[node])
        self.lines.append({"checkpoint": self._cosign(self.nodes if cosigning is None else cosigning)})

    def _report(
        self,
        reporting: Sequence[str],
        hashes: Mapping[str, Sequence[bytes]],
        rosters: Rosters,
        changed: Mapping[str, Fields],
        header: Fields,
    ) -> tuple[list[dict[str, Any]], list[bytes]]:
        shown, signed = [], []
        for node in reporting:
            named = [
                [character, sha256(packed).hex(), *([sha256(owners).hex()] if owners else [])]
                for character, (packed, owners) in sorted(rosters.get(node, {}).items())
            ]
            report = {
                "node": node, "first": self.sealed[node] + 1, "count": len(hashes[node]),
                "leaves": sha256(b"".join(hashes[node])).hex(), "wants": self.rules_hash().hex(),
            } | dict(changed.get(node, {}))  # fmt: skip
            fields = report | {
                "height": header.get("height", self.height),
                "previous": header.get("previous", self.hash.hex()),
                "rosters": named, "term": header.get("term", 1),
            }  # fmt: skip
            signed.append(statement("report", fields))
            shown.append(report | {"signature": self.keys[node].sign(signed[-1]).signature.hex()})
        return shown, signed

    def _vote(self, node: str, header: Fields, changed: Fields) -> dict[str, Any]:
        fields = {
            "block": self.hash.hex(), "height": header["height"], "node": node, "term": header["term"],
        } | dict(changed)  # fmt: skip
        signature = self.keys[node].sign(statement("vote", fields)).signature.hex()
        return {
            "node": node, "height": fields["height"], "term": fields["term"], "hash": fields["block"],
            "signature": signature,
        }  # fmt: skip

    def _cosign(self, cosigners: Sequence[str]) -> dict[str, Any]:
        size = len(self.leaves)
        note = f"{ORIGIN}\n{size}\n{base64.b64encode(root(self.leaves)).decode()}\n"
        seconds = 7
        lines = []
        for node in sorted(cosigners):
            key = self.keys[node]
            name = f"{ORIGIN}/{node}"
            key_id = sha256(name.encode() + b"\n\x04" + key.verify_key.encode())[:4]
            signature = key.sign(f"cosignature/v1\ntime {seconds}\n{note}".encode()).signature
            blob = base64.b64encode(key_id + seconds.to_bytes(8, "big") + signature).decode()
            lines.append([name, f"\N{EM DASH} {name} {blob}\n"])
        return {"size": size, "note": note, "cosignatures": lines}

    def close(self, *rows: dict[str, Any]) -> bytes:
        """The record, with these lines below all blocks."""
        lines = [*self.lines, *rows]
        lines.append({"end": {"lines": len(lines)}})
        spelled = [json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() for line in lines]
        return b"\n".join(spelled) + b"\n"

    def judge(self, *rows: dict[str, Any]) -> verify.Audit:
        """What the verifier says of it."""
        return verify.verify(io.BytesIO(self.close(*rows)))
