"""The groups of settings, a class each: the databases, the doors, this node, its cluster and its instances.

Separate from `users` and `claude`, which have many fields about one thing. Every field has a sentence, and
`ccn settings` shows it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from ccn.core.chain import protocol
from ccn.settings.fields import Names, Seconds, SettingsGroup
from ccn.settings.links import DoorTls, ServerTls


class DatabaseSettings(ServerTls):
    """PostgreSQL, the one place where things survive."""

    url: SecretStr = Field(
        default=SecretStr(""),
        description="Where PostgreSQL listens: postgresql://user:password@host:port/name; "
        "several as host:port,host:port.",
    )
    owner_url: SecretStr = Field(
        default=SecretStr(""),
        description="The same as the role that owns the schema, for commands that change it; else url.",
    )
    replica_url: SecretStr = Field(
        default=SecretStr(""),
        description="Standbys that answer what is only read, as in url; each host is one of them.",
    )
    replica_lag_s: Seconds = Field(
        default=5.0, description="A standby that is further behind is not read from until it has caught up."
    )
    replica_wait_s: Seconds = Field(
        default=0.05,
        description="How long a read waits until a standby has all that was written before; then the "
        "primary is read.",
    )
    pool_size: int = Field(default=8, ge=1, le=200, description="Connections one node keeps for reading.")
    connect_timeout_s: Seconds = Field(default=5.0, description="How long one attempt to connect may take.")
    statement_timeout_s: Seconds = Field(default=30.0, description="How long one statement may run.")
    search_pool_size: int = Field(
        default=4, ge=1, le=50, description="Connections for searches, and so searches at once of one node."
    )
    search_timeout_s: Seconds = Field(default=3.0, description="How long one search may take.")
    statement_cache: int = Field(
        default=100,
        ge=0,
        description="Prepared statements per connection; 0 behind a pooler that forbids them.",
    )
    write_queue_limit: int = Field(
        default=10_000,
        ge=1,
        description="Writes that may wait for the group commit before callers are refused.",
    )
    write_batch_limit: int = Field(
        default=512, ge=1, le=10_000, description="Writes that share one transaction at most."
    )

    @classmethod
    def from_url(cls, url: str, *, pool_size: int = 2) -> DatabaseSettings:
        """A database that a command was told about, with the defaults for all else."""
        return cls(url=SecretStr(url), pool_size=pool_size)

    def with_url(self, url: str) -> DatabaseSettings:
        """The same for another URL."""
        return self.model_copy(update={"url": SecretStr(url)})

    def with_replica_url(self, url: str) -> DatabaseSettings:
        """The same with other replicas."""
        return self.model_copy(update={"replica_url": SecretStr(url)})


class EtcdSettings(ServerTls):
    """etcd, which only tells who is here and who leads."""

    endpoints: Names = Field(
        default=(),
        description="host:port of each member, or https://host:port for TLS, separated by commas.",
    )
    user: str = Field(default="", description="The user of etcd, if it asks for one.")
    password: SecretStr = Field(default=SecretStr(""), description="The password of that user.")
    lease_ttl_s: Seconds = Field(default=5.0, description="How long a silent node counts as alive.")
    bin: Path | None = Field(
        default=None, description="The etcd program for embedded use; found by itself if unset."
    )


class PgSettings(SettingsGroup):
    """The embedded PostgreSQL."""

    bin: Path | None = Field(
        default=None, description="Folder with postgres and initdb (16 or newer); found by itself if unset."
    )


class NodeSettings(SettingsGroup):
    """This process."""

    id: str = Field(
        default="node-1",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="The name of this node, unique in the cluster.",
    )
    role: Literal["voter", "gateway"] = Field(
        default="voter",
        description="A voter hosts instances, writes and votes; a gateway has doors alone and asks voters.",
    )
    state_dir: Path | None = Field(
        default=None, description="Where this node keeps its signing key and what it last signed."
    )
    shutdown_timeout_s: Seconds = Field(
        default=10.0, description="How long running work may take to finish on shutdown."
    )


class HttpSettings(DoorTls):
    """The HTTP door."""

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; beyond loopback only with a certificate."
    )
    port: int = Field(default=7700, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    advertise: str = Field(
        default="",
        pattern=r"^(https?://[A-Za-z0-9.:\[\]_-]+)?$",
        description="Where clients reach this door, as https://host:port; where it listens if unset.",
    )
    body_limit: int = Field(
        default=1_048_576, ge=1_024, description="Bytes that the body of a request may have."
    )
    head_s: Seconds = Field(
        default=3.0, description="How long a client may take to send the head of a request."
    )
    patience_s: Seconds = Field(
        default=15.0, description="How long a client may take to send the body of a request."
    )
    connection_limit: int = Field(
        default=4_096,
        ge=1,
        description="Connections at once; at the limit idle ones end, and further requests are refused.",
    )
    address_limit: int = Field(
        default=128,
        ge=1,
        description="The same for one address; behind trusted proxies, requests at once of each address.",
    )
    trusted_proxies: Names = Field(
        default=(),
        description="Addresses or networks of proxies whose X-Forwarded-For is believed, with commas.",
    )
    cors_origins: Names = Field(
        default=(),
        description="Origins whose pages may call this door, separated by commas; none if unset.",
    )


class GrpcSettings(DoorTls):
    """The gRPC door."""

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; beyond loopback only with a certificate."
    )
    port: int = Field(default=7701, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    connection_limit: int = Field(
        default=1_024, ge=1, le=1_000_000, description="Connections at once; further ones are refused."
    )
    address_limit: int = Field(
        default=64,
        ge=1,
        le=1_000_000,
        description="The same for one address; beyond it those that are silent longest end.",
    )
    idle_s: Seconds = Field(
        default=300.0, description="How long a connection may stay open over which nobody calls anything."
    )


class PeersSettings(SettingsGroup):
    """The door for the other nodes."""

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; beyond loopback only with certificates."
    )
    port: int = Field(default=7702, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    advertise: str = Field(
        default="",
        pattern=r"^(|[^:/\s]+:\d+|\[[0-9A-Fa-f:.]+\]:\d+)$",
        description="host:port at which the others reach this door; where it listens if unset.",
    )


class TlsSettings(SettingsGroup):
    """The certificates by which nodes know each other; without them they stay on one machine."""

    ca: Path | None = Field(
        default=None, description="PEM file with the authority whose certificates count."
    )
    certificate: Path | None = Field(
        default=None, description="PEM file with this node's certificate, for NODE.ccn.internal."
    )
    key: Path | None = Field(default=None, description="PEM file with the key of that certificate.")
    look_s: Seconds = Field(
        default=10.0,
        description="How often it is looked whether files of certificates have changed, those of any link.",
    )


class ClusterSettings(SettingsGroup):
    """What a cluster is founded with; afterwards only the record says what it is."""

    size: int = Field(
        default=3,
        ge=1,
        le=64,
        description="How many nodes vote; as many must be there at the founding.",
    )
    origin: str = Field(
        default="",
        max_length=200,
        description="The name of its record, a URL without scheme; made up at the founding if unset.",
    )
    interval_s: Seconds = Field(default=10.0, description="How often a round is held.")
    limit_s: Seconds = Field(default=5.0, description="How long a round may take.")
    faults: Literal["crash", "byzantine"] = Field(
        default="crash", description="What nodes may do at worst; byzantine needs at least four."
    )
    scorer: str = Field(
        default="tier-1/v1",
        min_length=1,
        description="The scorer whose vectors the nodes agree on: tier-0/v1, tier-1/v1 or tier-2.",
    )
    protocol: int = Field(
        default=protocol.SHARED,
        ge=1,
        le=protocol.SPOKEN.highest,
        description="The protocol that this node wants once all voters speak it. A higher one than the"
        " release before speaks ends the way back to it.",
    )
    example: bool = Field(
        default=True, description="Whether a database without any character gets the example, Wren."
    )


class ScoringSettings(SettingsGroup):
    """What the scorer of tier 2 is made of on this machine, and who judges as tier 3."""

    model: Path | None = Field(
        default=None,
        description="Folder of a sentence encoder: model.onnx, and tokenizer.json or vocab.txt.",
    )
    heads: Path | None = Field(
        default=None,
        description="What scripts/train-scorer --tier 2 made for it; tier-2.heads in its folder if unset.",
    )
    judge: str = Field(
        default="",
        max_length=200,
        description="The model that judges in confirmations (tier 3), on the five axes that nothing else"
        " scores; nobody if unset, because every confirmation then costs three calls more.",
    )


class InstancesSettings(SettingsGroup):
    """The instances of characters that live on a node, and their turns."""

    limit: int = Field(
        default=1_000, ge=1, le=100_000, description="Instances on one node before it takes no new ones."
    )
    idle_s: Seconds = Field(
        default=1_800.0,
        description="How long nobody has talked to an instance that is ended to make room at the limit.",
    )
    queue_limit: int = Field(
        default=8, ge=1, le=1_000, description="Messages of one conversation that may wait for replies."
    )
    chunk_ms: int = Field(
        default=40, ge=1, le=10_000, description="Milliseconds of a stream that are kept in one write."
    )
    heartbeat_s: Seconds = Field(default=2.0, description="How often a node says that its instances live.")
    adopt_after_s: Seconds = Field(
        default=15.0,
        description="Silence after which other nodes take over; a third of it if the host left etcd too.",
    )


class RetentionSettings(SettingsGroup):
    """How long content is kept. The record of what happened stays; the words go."""

    content_days: int = Field(
        default=90, ge=0, description="Days until content is redacted; 0 keeps it for ever."
    )
    snapshot_minutes: int = Field(
        default=15, ge=1, description="Minutes after which a conversation that went on gets a snapshot."
    )
    turn_event_hours: int = Field(
        default=24, ge=1, description="Hours for which a finished turn's stream can be replayed."
    )
    time_series_days: int = Field(
        default=730, ge=1, description="Days for which vectors and metrics are kept."
    )


class ClientSettings(SettingsGroup):
    """Commands that talk to a cluster over HTTP, such as ccn chat."""

    endpoint: str = Field(
        default="",
        pattern=r"^(https?://[^\s]+)?$",
        description="A node of the cluster, as https://host:port; the cluster that runs here if unset.",
    )
    ca: Path | None = Field(
        default=None,
        description="PEM file with the authority of the nodes' certificates; those of the system if unset.",
    )
    api_key: SecretStr = Field(
        default=SecretStr(""), description="An API key from ccn key issue; the local admin's if unset."
    )


class LogSettings(SettingsGroup):
    """What is written about what happens; never content, never secrets."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe line that is written."
    )
    format: Literal["console", "json"] = Field(
        default="console", description="For people, or one JSON object on a line."
    )
