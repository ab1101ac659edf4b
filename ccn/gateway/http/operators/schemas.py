"""The bodies of requests and answers for operators."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from ccn.gateway.http.conversations.schemas import SpeakerAnswer
from ccn.gateway.http.schemas import Schema

NODE = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class InstanceEntry(SpeakerAnswer):
    """A living instance, for operators."""

    session_id: UUID
    character: str
    spawned_at: datetime
    heartbeat_at: datetime


class InstancesAnswer(Schema):
    """A page of the living instances of the cluster."""

    instances: tuple[InstanceEntry, ...]
    next: str | None


class ForcedRoundAnswer(Schema):
    """The outcome of a round that an operator asked for."""

    request_id: UUID
    answered: bool = Field(description="False if no leader has held it yet; the request stays queued.")
    committed: bool | None = None
    height: int | None = None
    term: int | None = None
    reason: str = Field(default="", description="Why the round failed; empty if it committed.")
    votes: tuple[str, ...] = Field(default=(), description="The nodes that voted for the block.")


class CommandRequest(Schema):
    """A command for the cluster."""

    command: Literal["round", "drain", "validators", "redact", "plate", "release"] = Field(
        description="The command, named as on the command line.", examples=["round"]
    )
    body: dict[str, Any] = Field(
        default={},
        description="The arguments of the command, which differ from one to another.",
        examples=[{}],
    )
    node: str | None = Field(
        default=None,
        pattern=NODE,
        description="The node that has to carry it out; without it, any node that may.",
        examples=[None],
    )
    by: str = Field(
        default="",
        max_length=100,
        description="The person who asks, recorded beside the name of the account.",
        examples=["ada"],
    )


class OutcomeAnswer(Schema):
    """The outcome of a request."""

    request: UUID
    outcome: dict[str, Any] = Field(description="What was done; the fields depend on the command.")


class RequestAnswer(Schema):
    """A request of an operator, and what has become of it."""

    request: UUID
    command: str
    body: dict[str, Any] = Field(
        description="The arguments of the command, without the text of a plate; they depend on the command."
    )
    node: str | None = Field(description="The node that has to carry it out; null if any may.")
    by: str = Field(description="Who asked.")
    asked_at: datetime
    state: Literal["waiting", "taken back", "answered"]
    at_it: str | None = Field(description="The node that is carrying it out now.")
    answered_at: datetime | None = Field(description="When its outcome was recorded.")
    error: str | None = Field(description="The error that it was refused with.", examples=[None])
    outcome: dict[str, Any] | None = Field(
        description="What was done; the fields depend on the command. Null while it waits."
    )


class RequestsAnswer(Schema):
    """Requests of operators, the newest first."""

    requests: tuple[RequestAnswer, ...]


class RoundCharacter(Schema):
    """How many instances of a character a round looked at."""

    model_config = ConfigDict(frozen=True, extra="allow")  # as in RoundEntry

    character: str
    instances: int
    outliers: int = Field(description="Instances beyond the tolerance around the median.")
    disputed: int = Field(description="Instances that more than one node reported.")


class RoundEntry(Schema):
    """A round in the log. A committed round has a hash, votes and characters, a failed one a reason."""

    # The log keeps what other versions wrote: their fields are passed on, and those they lack are left out.
    model_config = ConfigDict(frozen=True, extra="allow")

    at: str = Field(examples=["2026-11-28T10:44:57.104500+00:00"])
    term: int
    committed: bool
    height: int = Field(default=0, description="The height of the block that the round was for.")
    hash: str = Field(default="", description="The hash of the block, in hexadecimal.", examples=["9f2c…"])
    leader: str = ""
    leaves: int = Field(default=0, description="How many leaves the block seals.")
    votes: tuple[str, ...] = Field(default=(), description="The nodes that voted for the block.")
    reports: tuple[str, ...] = Field(
        default=(), description="The nodes whose reports are in the block.", examples=[["node-1", "node-2"]]
    )
    left_out: tuple[tuple[str, str], ...] = Field(
        default=(),
        description="The nodes whose reports were left out, each with the reason.",
        examples=[[["node-3", "tip"]]],
    )
    characters: tuple[RoundCharacter, ...] = ()
    reason: str = Field(default="", description="Why the round failed.")
    refused: dict[str, str] = Field(
        default={},
        description="The nodes that refused or did not answer, each with the reason.",
        examples=[{}],
    )


class RoundsAnswer(Schema):
    """Rounds, the newest first."""

    rounds: tuple[RoundEntry, ...]


class DriftRange(Schema):
    """The least and the greatest distance from a median; null if no instance was measured."""

    least: float | None
    most: float | None


class ReportedInstance(Schema):
    """An instance in a block, with its distance from the median."""

    instance: UUID
    node: str = Field(description="The node that reported it.")
    drift: float


class CharacterResult(Schema):
    """What a block says about one character."""

    character: str
    instances: int
    owners: int | None = Field(
        description="The number of owners they talk with; null if the rules of the chain count none."
    )
    median: dict[str, float | None] = Field(
        description="The median of each axis; null where it is unknown.", examples=[{"curiosity": 0.72}]
    )
    drift: DriftRange
    outliers: tuple[ReportedInstance, ...] = Field(
        description="Instances beyond the tolerance around the median."
    )
    disputed: tuple[ReportedInstance, ...] = Field(
        description="Instances that more than one node reported; they never count as outliers."
    )


class BlockAnswer(Schema):
    """One block of the chain."""

    height: int
    hash: str = Field(examples=["9f2c…"])
    previous: str = Field(description="The hash of the block before.", examples=["51aa…"])
    term: int
    at: str = Field(examples=["2026-11-28T10:44:57.104500+00:00"])
    leader: str
    leaves: int = Field(description="How many leaves the block seals.")
    tree_size: int = Field(
        alias="tree size", description="How many leaves the Merkle tree has with this block."
    )
    spans: tuple[str, ...] = Field(
        description="The leaves of each node that the block seals, as `NODE FIRST..LAST`.",
        examples=[["node-1 12..15"]],
    )
    reports: tuple[str, ...] = Field(
        description="The nodes whose reports are in the block.", examples=[["node-1", "node-2"]]
    )
    votes: tuple[str, ...] = Field(description="The nodes that voted for the block.")
    results: tuple[CharacterResult, ...]


class ValidatorEntry(Schema):
    """A node that has ever run in this cluster."""

    node: str
    votes: bool = Field(description="Whether it is a validator now.", examples=[True])
    key: str | None = Field(
        description="Its public key in hexadecimal; null if it is no validator.", examples=["d75a98…"]
    )
    draining: bool = Field(description="Whether it takes nothing new, because an operator drains it.")
    unsealed: int = Field(description="How many of its leaves wait for a block.")
    last_vote: int | None = Field(
        description="The height of the last block that it voted for, of the newest 1000 blocks."
    )


class ValidatorsAnswer(Schema):
    """Every node that has ever run in this cluster."""

    nodes: tuple[ValidatorEntry, ...]


class NodeLoadAnswer(Schema):
    """What a node still carries."""

    draining: bool = Field(description="Whether it takes nothing new, because an operator drains it.")
    leads: bool = Field(description="Whether it is the leader.", examples=[False])
    instances: int = Field(description="How many instances it hosts.")
    unsealed: int = Field(description="How many of its leaves wait for a block.")
    empty: bool = Field(
        description="Whether it can be stopped without a loss: it leads nothing, hosts no instance and "
        "has no unsealed leaf.",
        examples=[False],
    )
