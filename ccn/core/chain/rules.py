"""The rules in force: who votes, and what their votes mean. Both are part of the record.

The list of validators is never derived from who is alive: a partition would shrink it until each half
agreed with itself. Genesis names the first list. A block can name a later list, if a quorum of the old list
signed the block. The later list is in force from the next block on. Parameters change the same way, because
the drift tolerance, the smoothing of the vectors and the scorer only have a meaning together. What weighs
the same in a median is a parameter as well. Clusters of the first version weighed instances. They change to
owners with a block as soon as a quorum of their nodes wants it. The protocol in force is a parameter, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache

from ccn import errors
from ccn.core import ids
from ccn.core.axes import UNIT
from ccn.core.chain import protocol, quorum
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.chain.quorum import FaultModel
from ccn.core.ids import NodeId
from ccn.core.ledger import commitment

_KEY_BYTES = 32
_DAY_MS = 86_400_000
_NAME_LIMIT = 100


@dataclass(frozen=True, slots=True, order=True)
class Validator:
    """A node that votes, and the Ed25519 key with which it votes."""

    node: NodeId
    key: bytes

    def __post_init__(self) -> None:
        """Refuse a name or a key of the wrong form."""
        ids.check_name(self.node, "node")
        if len(self.key) != _KEY_BYTES:
            raise errors.InputInvalid(f"the key of {self.node} has {len(self.key)} bytes, not {_KEY_BYTES}")


class Weighing(StrEnum):
    """What weighs the same in a median."""

    INSTANCES = "instances"
    """Every instance weighs the same, or every node under the byzantine fault model. So an owner with most
    of the instances sets the median."""
    OWNERS = "owners"
    """Every owner weighs the same. Under the byzantine fault model no node weighs more than an owner."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What all nodes of a cluster must agree on, besides its validators. Scores are in millionths."""

    scorer: str
    faults: FaultModel = FaultModel.CRASH
    tolerance: int = 100_000
    smoothing: int = 100_000
    interval_ms: int = 10_000
    limit_ms: int = 5_000
    clock_ms: int = 2_000
    weighing: Weighing = Weighing.OWNERS
    protocol: int = 1
    """What the nodes say to each other. Only a higher one than the first is named in the record."""

    def __post_init__(self) -> None:
        """Refuse values with which no round can be held."""
        if not 0 < len(self.scorer) <= _NAME_LIMIT:
            raise errors.InputInvalid(f"the scorer has a name of 1 to {_NAME_LIMIT} characters")
        if not 0 <= self.tolerance <= UNIT or not 0 < self.smoothing <= UNIT:
            raise errors.InputInvalid("tolerance and smoothing lie between 0 and a million millionths")
        if not all(0 < ms <= _DAY_MS for ms in (self.interval_ms, self.limit_ms, self.clock_ms)):
            raise errors.InputInvalid("interval, limit and clock tolerance lie between 1 ms and a day")
        if not 1 <= self.protocol <= protocol.LIMIT:
            raise errors.InputInvalid(f"{self.protocol} is the number of no protocol")
        if self.protocol > 1 and self.weighing is Weighing.INSTANCES:
            raise errors.InputInvalid("only clusters of the first protocol weigh instances")

    def body(self) -> bytes:
        """Return their canonical bytes. Those of the first version do not say what is weighed."""
        fields: commitment.Fields = {
            "clock_ms": self.clock_ms,
            "faults": self.faults.value,
            "interval_ms": self.interval_ms,
            "kind": "parameters",
            "limit_ms": self.limit_ms,
            "scorer": self.scorer,
            "smoothing": self.smoothing,
            "tolerance": self.tolerance,
            "v": 1,
        }
        if self.weighing is not Weighing.INSTANCES:
            fields = {**fields, "v": 2, "weighing": self.weighing.value}
        if self.protocol > 1:
            fields = {**fields, "v": 3, "protocol": self.protocol}
        return commitment.encode_canonical(fields)


@dataclass(frozen=True, slots=True)
class Rules:
    """The validators in the order of their names, and the parameters."""

    validators: tuple[Validator, ...]
    parameters: Parameters
    _bodies: tuple[bytes, bytes] = field(init=False, repr=False, compare=False)
    _hashes: tuple[bytes, bytes, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a list out of order, with a node or a key twice, or too short for its fault model."""
        nodes = [validator.node for validator in self.validators]
        if nodes != sorted(set(nodes)):
            raise errors.InputInvalid(
                "the validators are not listed once each, in the order of their names"
            )
        if len({validator.key for validator in self.validators}) != len(nodes):
            raise errors.InputInvalid("two validators have the same key")
        quorum.votes_needed(self.parameters.faults, len(nodes))
        listed = [(validator.node, validator.key.hex()) for validator in self.validators]
        body = commitment.encode_canonical({"kind": "validators", "v": 1, "validators": listed})
        # Kept, because every statement of a round is checked against these bodies and their hashes.
        bodies = body, self.parameters.body()
        first, second = (hashlib.sha256(one_body).digest() for one_body in bodies)
        object.__setattr__(self, "_bodies", bodies)
        object.__setattr__(self, "_hashes", (first, second, hashlib.sha256(first + second).digest()))

    @property
    def quorum(self) -> int:
        """Return how many validators must agree."""
        return quorum.votes_needed(self.parameters.faults, len(self.validators))

    @property
    def liars(self) -> int:
        """Return how many validators may lie in their reports."""
        lying = self.parameters.faults is FaultModel.BYZANTINE
        return quorum.faults_tolerated(FaultModel.BYZANTINE, len(self.validators)) if lying else 0

    def with_current_weighing(self) -> Rules:
        """Return these rules with the weighing of this version of CCN."""
        return replace(self, parameters=replace(self.parameters, weighing=Weighing.OWNERS))

    def with_protocol(self, spoken: Mapping[NodeId, ProtocolRange], wish: int) -> Rules:
        """Return these rules with the highest protocol up to the wished one that every validator speaks.

        `spoken` has the nodes that are present under the keys they vote with. A protocol never goes down.
        """
        ranges = [spoken.get(validator.node) for validator in self.validators]
        highest = min([wish, *(one.highest if one else 0 for one in ranges)])
        if highest <= self.parameters.protocol or not all(one and highest in one for one in ranges):
            return self
        return replace(self, parameters=replace(self.parameters, protocol=highest))

    def key_of(self, node: NodeId) -> bytes | None:
        """Return the key of a validator, or None if the node is not one."""
        return next((validator.key for validator in self.validators if validator.node == node), None)

    def validators_body(self) -> bytes:
        """Return the canonical bytes of the list of validators."""
        return self._bodies[0]

    def parameters_body(self) -> bytes:
        """Return the canonical bytes of the parameters."""
        return self._bodies[1]

    def validators_hash(self) -> bytes:
        """Return the hash by which a block names the list of validators."""
        return self._hashes[0]

    def parameters_hash(self) -> bytes:
        """Return the hash by which a block names the parameters."""
        return self._hashes[1]

    def hash(self) -> bytes:
        """Return the hash of both. A report names the rules that its node wants by this hash."""
        return self._hashes[2]


@lru_cache(maxsize=16)  # the same few rules appear in every proposal and beside every block
def parse_rules(validators: bytes, parameters: bytes) -> Rules:
    """Read the rules from their two bodies, as the record keeps them. Anything else is refused.

    Rules of a protocol that this program does not speak may say what it cannot read: that is no fault of
    theirs, and raises `ProtocolUnsupported`.
    """
    try:
        rules = Rules(_parse_validators(validators), _parse_parameters(parameters))
        if (rules.validators_body(), rules.parameters_body()) == (validators, parameters):
            return rules
        reason = ""
    except ValueError as refused:
        reason = f": {refused}"
    except errors.InputInvalid:
        _refuse_unspoken(parameters)
        raise
    _refuse_unspoken(parameters)
    raise errors.InputInvalid(f"these are not the rules of a cluster{reason}")


def _refuse_unspoken(parameters: bytes) -> None:
    match commitment.parse_canonical(parameters):
        case {"kind": "parameters", "protocol": int(named)} if named not in protocol.SPOKEN:
            raise errors.ProtocolUnsupported(protocol.describe_gap(named, protocol.SPOKEN))


def _parse_validators(body: bytes) -> tuple[Validator, ...]:
    match commitment.parse_canonical(body):
        case {"validators": [*listed]}:
            return tuple(map(_parse_validator, listed))
    raise errors.InputInvalid("this is not a list of validators")


def _parse_validator(entry: object) -> Validator:
    match entry:
        case [str(node), str(key)]:
            return Validator(NodeId(node), bytes.fromhex(key))
    raise errors.InputInvalid(f"{entry!r} is not a validator")


def _parse_parameters(body: bytes) -> Parameters:
    match commitment.parse_canonical(body):
        case {
            "clock_ms": int(clock_ms),
            "faults": str(faults),
            "interval_ms": int(interval_ms),
            "limit_ms": int(limit_ms),
            "scorer": str(scorer),
            "smoothing": int(smoothing),
            "tolerance": int(tolerance),
            **others,
        }:
            weighing = Weighing(str(others.get("weighing", Weighing.INSTANCES.value)))
            named = others.get("protocol", 1)
            if type(named) is not int:
                raise errors.InputInvalid("a protocol is a number")
            limits = tolerance, smoothing, interval_ms, limit_ms, clock_ms
            return Parameters(scorer, FaultModel(faults), *limits, weighing, named)
    raise errors.InputInvalid("these are not the parameters of a cluster")
