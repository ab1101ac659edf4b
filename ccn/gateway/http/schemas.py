"""The bodies of requests and answers that belong to no wing of this door, and the base of all others."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Schema(BaseModel):
    """The base of every body: it cannot be changed, and has no field that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LivenessAnswer(Schema):
    """The process is alive. This says nothing about the database or other neighbours."""

    status: Literal["alive"] = "alive"
    node: str = Field(description="The name of this node.")
    version: str = Field(description="The version of CCN that it runs.")


class ReadyCheck(Schema):
    """One thing that the node needs in order to serve, or only reports."""

    name: str = Field(examples=["database"])
    passes: bool
    needed: bool = Field(default=True, description="Whether the node can serve only if this passes.")
    reason: str = Field(description="Why it fails; empty if it passes.")


class ReadyAnswer(Schema):
    """Whether the node can serve now, and what stands against it."""

    ready: bool
    node: str
    pid: int = Field(description="The process that answers; it changes when the node restarts.")
    checks: tuple[ReadyCheck, ...]


class FrontAnswer(Schema):
    """What this address is, and where to go on."""

    name: Literal["CCN"] = "CCN"
    notice: str = Field(description="A notice that this is software, whoever may seem to speak.")
    node: str
    version: str
    links: dict[str, str]


class StatusSeat(Schema):
    """One node of the cluster."""

    node: str
    votes: bool | None = Field(
        description="Whether it is a validator; null while the answering node does not know.",
        examples=[True],
    )
    here: bool = Field(description="Whether it is registered now, which it is while it runs.")
    draining: bool = Field(description="Whether it takes nothing new, because an operator drains it.")
    address: str = Field(description="The address of its HTTP door; empty while it is away.")
    since: datetime | None = Field(
        default=None, description="When its process started; null while it is away."
    )
    version: str = Field(
        default="", description="The release of its program; empty while it is away or if it is too old."
    )
    protocol: tuple[int, int] | None = Field(
        default=None,
        description="The lowest and the highest protocol that its program speaks; null while it is away.",
        examples=[[1, 2]],
    )
    outside: bool = Field(
        default=False, description="Whether it is here and takes no part in rounds.", examples=[False]
    )


class StatusRound(Schema):
    """The newest round in the log."""

    height: int | None
    committed: bool
    reason: str = Field(description="Why it failed; empty if it committed.")
    at: datetime


class StatusContradiction(Schema):
    """A node that signed two statements that contradict each other, which no honest node does."""

    node: str
    kind: str = Field(description="What it signed twice: proposal, vote or cosigned.")
    height: int
    found_by: str
    at: datetime


class StatusRetry(Schema):
    """A call to the model that failed and will be made again."""

    number: int = Field(description="The number of the next try.", examples=[2])
    most: int = Field(description="How many tries there are.", examples=[5])
    reason: str = Field(
        description="Why the last one failed: network, rate limit or server.", examples=["network"]
    )


class StatusGateway(Schema):
    """A gateway that asked the answering node something within the last seconds."""

    gateway: str = Field(examples=["gateway-1"])
    address: str = Field(description="The address of its HTTP door, as it says itself.")


class StatusReplica(Schema):
    """A replica of the database, as the answering node found it last."""

    replica: int = Field(description="Its place in the settings of that node.", examples=[1])
    unfit: str = Field(
        description="Why nothing is read there; empty if it is used.", examples=["does not answer"]
    )
    lag_s: float | None = Field(description="How late it is; null while nobody knows.")


class StatusAnswer(Schema):
    """The cluster as one node sees it."""

    node: str = Field(description="The node that answers.")
    nodes: tuple[StatusSeat, ...]
    leader: str | None
    term: int
    height: int | None = Field(description="The newest block; null before the chain was founded.")
    last_round: StatusRound | None
    quorum: int | None = Field(description="How many validators must agree.")
    unsealed: int = Field(description="How many leaves wait for a block.")
    database_mode: str = Field(description="plain, apache or tsl.")
    stopped: str = Field(description="Why the answering node no longer signs anything; empty if it signs.")
    evidence: tuple[StatusContradiction, ...] = Field(
        default=(), description="The nodes that contradicted themselves, the newest first."
    )
    gateways: tuple[StatusGateway, ...] = Field(
        default=(), description="The gateways that the answering node heard of within the last seconds."
    )
    led_since: datetime | None = Field(default=None, description="When the leader began its term.")
    protocol: int | None = Field(
        default=None,
        description="The protocol in force; null while the answering node does not know the rules.",
    )
    replicas: tuple[StatusReplica, ...] = Field(
        default=(), description="The replicas of the database that the answering node may read from."
    )
    model: StatusRetry | None = Field(
        default=None,
        description="The next try of a failed call to the model; null while no call waits for one.",
    )


class SignInRequest(BaseModel):
    """The form of /token (OAuth2). Other fields, such as `scope` or `client_id`, are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    grant_type: Literal["password", "refresh_token"] = "password"
    username: str = Field(default="", max_length=200, examples=["ada"])
    password: str = Field(
        default="", max_length=1_024, examples=["correct horse"], json_schema_extra={"format": "password"}
    )
    refresh_token: str = Field(default="", max_length=200, description="For grant type `refresh_token`.")


class TokensAnswer(Schema):
    """The tokens that signing in gives (RFC 6749, section 5.1)."""

    access_token: str = Field(description="Send it as `Authorization: Bearer …`.")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the name of a kind
    expires_in: int = Field(description="Seconds until the access token expires.", examples=[900])
    refresh_token: str = Field(description="Can be used once, at /token/refresh.")


class RefreshRequest(Schema):
    """A refresh token to exchange."""

    refresh_token: str = Field(max_length=200, examples=["ccnr_Jp3…"])


class RevokeRequest(BaseModel):
    """The form of /token/revoke (RFC 7009)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    token: str = Field(min_length=1, examples=["ccnr_Jp3…"])
    token_type_hint: str = Field(default="", description="Ignored: a token shows its kind.")


class MeAnswer(Schema):
    """The user that a credential stands for."""

    id: UUID
    name: str = Field(examples=["ada"])
    tier: Literal["public", "user", "admin"] = Field(
        description="What the credential may do. An API key may do less than its user."
    )


class Fault(Schema):
    """One place in a request that is wrong."""

    where: str
    why: str


class Problem(Schema):
    """An error (RFC 9457). Programs decide by `code`, which never changes; people read `detail`."""

    type: str = Field(description="A URI that names the kind of problem.")
    title: str
    status: int
    code: str
    detail: str = ""
    faults: tuple[Fault, ...] = ()
    error: str = Field(default="", description="At /token and /token/revoke: what OAuth2 calls it.")
