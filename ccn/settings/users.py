"""The groups of settings about users: who may come in, and how much of everything one of them may have."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from pydantic import Field, SecretStr

from ccn.settings.fields import Dollars, Seconds, SettingsGroup


class AccountsSettings(SettingsGroup):
    """Who may come in, and for how long."""

    issuer: str = Field(
        default="ccn", min_length=1, max_length=200, description="What access tokens name as their issuer."
    )
    audience: str = Field(
        default="ccn", min_length=1, max_length=200, description="What access tokens are good for."
    )
    access_minutes: int = Field(
        default=15, ge=1, le=1_440, description="Minutes for which an access token is good."
    )
    refresh_days: int = Field(
        default=30, ge=1, le=365, description="Days within which a refresh token must be used."
    )
    recheck_s: float = Field(
        default=2.0,
        ge=0,
        le=60,
        description="Seconds after which a disabled user or a revoked key has surely stopped working.",
    )


class LimitsSettings(SettingsGroup):
    """How much of everything one user may have, and how often somebody may ask."""

    requests: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="Requests in a window, for each user, or each address of those who have not signed in.",
    )
    sign_ins: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="Attempts to sign in as one user from one address in a window.",
    )
    name_refusals: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="Refused sign-ins as one user in an hour; then only where it signed in lately.",
    )
    address_refusals: int = Field(
        default=200,
        ge=1,
        le=1_000_000,
        description="Refused sign-ins from one address in an hour, as whomever, before it has to wait.",
    )
    window_s: int = Field(default=60, ge=1, le=3_600, description="The window.")
    conversations: int = Field(
        default=1_000,
        ge=1,
        le=1_000_000,
        description="Open conversations of one user, on all nodes together.",
    )
    instances: int = Field(
        default=100,
        ge=1,
        le=100_000,
        description="Living instances of one user on all nodes; an idle one makes room for the next.",
    )
    calls_at_once: int = Field(
        default=16,
        ge=1,
        le=10_000,
        description="Calls to the model that a node has under way for one user: turns, interviews, others.",
    )
    spawns_at_once: int = Field(
        default=4, ge=1, le=1_000, description="Instances that a node brings to life at once for one user."
    )
    daily_dollars: Dollars = Field(
        default=Decimal(10), description="What may be spent for one user in a day, on all nodes together."
    )
    searches_at_once: int = Field(
        default=2, ge=1, le=50, description="Searches of one user under way at once at one node."
    )
    streams: int = Field(
        default=100,
        ge=1,
        le=100_000,
        description="Streams and sockets of one user that are open at one node, through all doors.",
    )
    socket_idle_s: Seconds = Field(
        default=1_800.0,
        description="How long a WebSocket may stay open on which nothing is said and nothing is told.",
    )
    redis_url: SecretStr = Field(
        default=SecretStr(""),
        description="rediss://user:password@host:port/0, where nodes count together; else each alone.",
    )
    redis_ca: Path | None = Field(
        default=None, description="PEM file with the authority of Redis's certificates."
    )
    redis_certificate: Path | None = Field(
        default=None, description="PEM file with the certificate that this node shows to Redis."
    )
    redis_key: Path | None = Field(default=None, description="PEM file with the key of that certificate.")
    redis_insecure: bool = Field(
        default=False,
        description="Whether Redis may be beyond loopback without TLS: the network encrypts.",
    )
    redis_timeout_s: Seconds = Field(
        default=0.05, description="How long a request waits for Redis before this node counts alone."
    )
