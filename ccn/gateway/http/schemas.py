"""What the HTTP door says, as typed models: the only pydantic models besides the settings."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Schema(BaseModel):
    """What all of them have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LivenessAnswer(Schema):
    """The process is alive; that says nothing about its neighbours."""

    status: Literal["alive"] = "alive"
    node: str = Field(description="The name of this node.")
    version: str = Field(description="The version of CCN it runs.")


class ReadyCheck(Schema):
    """One thing the node needs in order to serve, or serves without."""

    name: str = Field(examples=["database"])
    passes: bool
    needed: bool = Field(default=True, description="Whether the node is not ready without it.")
    reason: str = Field(description="Why not; empty if it passes.")


class ReadyAnswer(Schema):
    """Whether the node can serve now."""

    ready: bool
    node: str
    pid: int = Field(description="The process that answers; a restarted node has another one.")
    checks: tuple[ReadyCheck, ...]


class FrontAnswer(Schema):
    """What answers here, and where to go on."""

    name: Literal["CCN"] = "CCN"
    notice: str = Field(description="That this is software, whoever may seem to speak.")
    node: str
    version: str
    links: dict[str, str]


class StatusSeat(Schema):
    """One node of the cluster."""

    node: str
    votes: bool | None = Field(
        description="Whether it is a validator; null while the node that answers does not know.",
        examples=[True],
    )
    here: bool = Field(description="Whether it is registered now.")
    draining: bool = Field(description="Whether it takes nothing new, because an operator drains it.")
    address: str = Field(description="Its HTTP door; empty while it is away.")
    since: datetime | None = Field(default=None, description="When its process began, while it is here.")


class StatusRound(Schema):
    """The newest round in the log."""

    height: int | None
    committed: bool
    reason: str = Field(description="Why it failed; empty if it committed.")
    at: datetime


class StatusContradiction(Schema):
    """A node that signed two things of which no honest node signs both."""

    node: str
    kind: str = Field(description="What it did twice: proposal, vote or cosigned.")
    height: int
    found_by: str
    at: datetime


class StatusRetry(Schema):
    """A call to the model that failed and is made again."""

    number: int = Field(description="Which try comes next.", examples=[2])
    most: int = Field(description="Tries altogether.", examples=[5])
    reason: str = Field(description="network, rate limit or server.", examples=["network"])


class StatusAnswer(Schema):
    """The cluster as one node sees it."""

    node: str = Field(description="The node that answers.")
    nodes: tuple[StatusSeat, ...]
    leader: str | None
    term: int
    height: int | None = Field(description="The newest block; none before the founding.")
    last_round: StatusRound | None
    quorum: int | None = Field(description="How many validators must agree.")
    unsealed: int = Field(description="Leaves that wait for a block.")
    database_mode: str = Field(description="plain, apache or tsl.")
    stopped: str = Field(description="Why the node that answers signs nothing any more; empty if it does.")
    evidence: tuple[StatusContradiction, ...] = Field(
        default=(), description="Who was found to lie, newest first."
    )
    led_since: datetime | None = Field(default=None, description="When the leader took its term.")
    model: StatusRetry | None = Field(
        default=None, description="What a call from this node to the model waits for; null while none does."
    )


class SignInRequest(BaseModel):
    """The form of /token (OAuth2). What else clients send, such as `scope` or `client_id`, is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    grant_type: Literal["password", "refresh_token"] = "password"
    username: str = Field(default="", max_length=200, examples=["ada"])
    password: str = Field(
        default="", max_length=1_024, examples=["correct horse"], json_schema_extra={"format": "password"}
    )
    refresh_token: str = Field(default="", max_length=200, description="For grant type `refresh_token`.")


class TokensAnswer(Schema):
    """What signing in gives (RFC 6749, section 5.1)."""

    access_token: str = Field(description="Send it as `Authorization: Bearer …`.")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the name of a kind
    expires_in: int = Field(description="Seconds for which the access token is good.", examples=[900])
    refresh_token: str = Field(description="Good for one use, at /token/refresh.")


class RefreshRequest(Schema):
    """A refresh token to exchange."""

    refresh_token: str = Field(max_length=200, examples=["ccnr_Jp3…"])


class RevokeRequest(BaseModel):
    """The form of /token/revoke (RFC 7009). Of what kind the token is, it shows itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    token: str = Field(min_length=1, examples=["ccnr_Jp3…"])
    token_type_hint: str = Field(default="", description="Not needed, and not looked at.")


class MeAnswer(Schema):
    """Whom a credential stands for."""

    id: UUID
    name: str = Field(examples=["ada"])
    tier: Literal["public", "user", "admin"] = Field(
        description="What the credential may do; an API key may do less than its user."
    )


class Fault(Schema):
    """One place of a request that cannot be used."""

    where: str
    why: str


class Problem(Schema):
    """An error (RFC 9457). `code` is stable: programs decide by it, people read `title` and `detail`."""

    type: str = Field(description="A URI that names the kind of problem.")
    title: str
    status: int
    code: str
    detail: str = ""
    faults: tuple[Fault, ...] = ()
    error: str = Field(default="", description="At /token and /token/revoke: what OAuth2 calls it.")
