"""The header of a block: a few lines that fix everything a round decided.

    … | leaves of block h-1 | header h-1 | leaves of block h | header h | …
                             before ─────┘            after ──┘          └── checkpoint of block h

`before` is the checkpoint of the previous block. `size` and `root` are the tree's with the leaves of this
block but without its header: a header cannot contain a hash of itself. The header is then appended as the
last leaf of its block, and the checkpoint that nodes cosign covers it. The hash of a block is the leaf hash
of its header, so the chain of `previous` and the tree rest on the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ccn import errors
from ccn.core import ids
from ccn.core.chain.report import LEAF_LIMIT
from ccn.core.ids import NodeId
from ccn.core.ledger import commitment, merkle


class Span(NamedTuple):
    """The numbers of one node's leaves that a block seals, from the first to the last."""

    node: NodeId
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Header:
    """The header of one block.

    `validators` and `parameters` decide this block. `next_validators` and `next_parameters` decide the
    next one.
    """

    height: int
    previous: bytes
    term: int
    leader: NodeId
    time_us: int
    validators: bytes
    parameters: bytes
    next_validators: bytes
    next_parameters: bytes
    reports: bytes
    result: bytes
    spans: tuple[Span, ...]
    before_size: int
    before_root: bytes
    size: int
    root: bytes
    _body: bytes = field(init=False, repr=False, compare=False)
    _hash: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse fields that no block can have."""
        ids.check_name(self.leader, "node")
        if any(len(value) != merkle.HASH_BYTES for value in self._hash_fields().values()):
            raise errors.InputInvalid("a hash in the header has another length")
        if self.height < 1 or self.term < 0 or self.time_us < 1 or self.before_size < 0:
            raise errors.InputInvalid("the header has impossible numbers")
        nodes = [ids.check_name(span.node, "node") for span in self.spans]
        if nodes != sorted(set(nodes)) or any(not 1 <= span.first <= span.last for span in self.spans):
            raise errors.InputInvalid("the header does not list nodes once each with ascending numbers")
        if not self.count == self.size - self.before_size <= LEAF_LIMIT:
            raise errors.InputInvalid(
                f"{self.count} leaves do not lead from {self.before_size} to {self.size}"
            )
        # Kept, because a round needs the body and its hash some twenty times on each node.
        body = self._write_body()
        object.__setattr__(self, "_body", body)
        object.__setattr__(self, "_hash", commitment.leaf_hash(body))

    @property
    def count(self) -> int:
        """Return how many leaves the block seals besides its header."""
        return sum(span.last - span.first + 1 for span in self.spans)

    def hash(self) -> bytes:
        """Return the hash of the block, which is the hash of its last leaf."""
        return self._hash

    def body(self) -> bytes:
        """Return its canonical bytes."""
        return self._body

    def _write_body(self) -> bytes:
        return commitment.encode_canonical(
            {
                **{name: value.hex() for name, value in self._hash_fields().items()},
                "before_size": self.before_size,
                "height": self.height,
                "kind": "block",
                "leader": self.leader,
                "size": self.size,
                "spans": self.spans,
                "term": self.term,
                "time_us": self.time_us,
                "v": 1,
            }
        )

    def _hash_fields(self) -> dict[str, bytes]:
        return {
            "before_root": self.before_root,
            "next_parameters": self.next_parameters,
            "next_validators": self.next_validators,
            "parameters": self.parameters,
            "previous": self.previous,
            "reports": self.reports,
            "result": self.result,
            "root": self.root,
            "validators": self.validators,
        }


def parse_header(body: bytes) -> Header:
    """Read a header from its bytes. Bytes that `body` would not have written are refused."""
    match commitment.parse_canonical(body):
        case {
            "before_root": str(before_root),
            "before_size": int(before_size),
            "height": int(height),
            "leader": str(leader),
            "next_parameters": str(next_parameters),
            "next_validators": str(next_validators),
            "parameters": str(parameters),
            "previous": str(previous),
            "reports": str(reports),
            "result": str(result),
            "root": str(root),
            "size": int(size),
            "spans": [*spans],
            "term": int(term),
            "time_us": int(time_us),
            "validators": str(validators),
        }:
            header = Header(
                height=height,
                previous=commitment.digest_from_hex(previous),
                term=term,
                leader=NodeId(leader),
                time_us=time_us,
                validators=commitment.digest_from_hex(validators),
                parameters=commitment.digest_from_hex(parameters),
                next_validators=commitment.digest_from_hex(next_validators),
                next_parameters=commitment.digest_from_hex(next_parameters),
                reports=commitment.digest_from_hex(reports),
                result=commitment.digest_from_hex(result),
                spans=tuple(map(_parse_span, spans)),
                before_size=before_size,
                before_root=commitment.digest_from_hex(before_root),
                size=size,
                root=commitment.digest_from_hex(root),
            )
            if header.body() == body:
                return header
    raise errors.InputInvalid("this is not the header of a block")


def _parse_span(entry: object) -> Span:
    match entry:
        case [str(node), int(first), int(last)]:
            return Span(NodeId(node), first, last)
    raise errors.InputInvalid(f"{entry!r} is not a span of leaves")
