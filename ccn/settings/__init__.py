"""What an operator may set: frozen groups, a sentence per field, from the environment and one TOML file.

The only reader of the environment. `service.py` and the command line hand each constructor its group;
nobody else looks here at run time. Order: environment, then the file that `CCN_SETTINGS` names (or else
`ccn.toml` in the working folder, then `~/.config/ccn/ccn.toml`), then the defaults below.
`CCN_DATABASE_POOL_SIZE` sets `database.pool_size`, which a file spells `[database] pool_size`. A secret may
also stand in a file of its own, which `CCN_DATABASE_URL_FILE` names. An empty variable counts as unset.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ccn import errors
from ccn.core.calls import price
from ccn.settings import sources


def _split_list(given: object) -> object:
    """The environment has no lists."""
    return tuple(filter(None, re.split(r"[,\s]+", given))) if isinstance(given, str) else given


Seconds = Annotated[float, Field(gt=0, le=86_400)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_list)]


class SettingsGroup(BaseModel):
    """Settings that belong together, frozen."""

    # Unknown names are refused below, by name; what Kubernetes adds about services must pass.
    model_config = ConfigDict(frozen=True, extra="ignore")


class DatabaseSettings(SettingsGroup):
    """PostgreSQL, the one place where things survive."""

    url: SecretStr = Field(
        default=SecretStr(""),
        description="Where PostgreSQL listens: postgresql://user:password@host:port/name.",
    )
    owner_url: SecretStr = Field(
        default=SecretStr(""),
        description="The same as the role that owns the schema, for commands that change it; else url.",
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


class EtcdSettings(SettingsGroup):
    """etcd, which only tells who is here and who leads."""

    endpoints: Names = Field(
        default=(),
        description="host:port of each member, or https://host:port for TLS, separated by commas.",
    )
    ca: Path | None = Field(
        default=None,
        description="PEM file with the authority of etcd's certificates; with it, TLS is used.",
    )
    certificate: Path | None = Field(
        default=None, description="PEM file with the certificate that this node shows to etcd."
    )
    key: Path | None = Field(default=None, description="PEM file with the key of that certificate.")
    user: str = Field(default="", description="The user of etcd, if it asks for one.")
    password: SecretStr = Field(default=SecretStr(""), description="The password of that user.")
    lease_ttl_s: Seconds = Field(default=5.0, description="How long a silent node counts as alive.")
    bin: Path | None = Field(
        default=None, description="The etcd program for embedded use; found by itself if unset."
    )


class NodeSettings(SettingsGroup):
    """This process."""

    id: str = Field(
        default="node-1",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="The name of this node, unique in the cluster.",
    )
    state_dir: Path | None = Field(
        default=None, description="Where this node keeps its signing key and what it last signed."
    )
    shutdown_timeout_s: Seconds = Field(
        default=10.0, description="How long running work may take to finish on shutdown."
    )


class HttpSettings(SettingsGroup):
    """The HTTP door."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=7700, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
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


class GrpcSettings(SettingsGroup):
    """The gRPC door."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=7701, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    certificate: Path | None = Field(
        default=None, description="PEM file with the certificate that clients see; without it no TLS."
    )
    key: Path | None = Field(default=None, description="PEM file with the key of that certificate.")
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
    example: bool = Field(
        default=True, description="Whether a database without any character gets the example, Wren."
    )


class ScoringSettings(SettingsGroup):
    """What the scorer of tier 2 is made of, on this machine; the others need nothing."""

    model: Path | None = Field(
        default=None,
        description="Folder of a sentence encoder: model.onnx, and tokenizer.json or vocab.txt.",
    )
    heads: Path | None = Field(
        default=None,
        description="What scripts/train-scorer --tier 2 made for it; tier-2.heads in its folder if unset.",
    )


Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=6)]


class DollarPrice(SettingsGroup):
    """Dollars for a million tokens of one model."""

    input: Dollars
    output: Dollars
    cache_write: Dollars
    cache_read: Dollars
    long_above: int | None = Field(default=None, gt=0)
    long_factor: Annotated[Decimal, Field(ge=1, le=100, decimal_places=2)] = Decimal(1)

    def to_microdollars(self) -> price.Price:
        """The same in whole microdollars."""
        return price.Price(
            input=price.microdollars_from(self.input),
            output=price.microdollars_from(self.output),
            cache_write=price.microdollars_from(self.cache_write),
            cache_read=price.microdollars_from(self.cache_read),
            long_above=self.long_above,
            long_percent=int(self.long_factor * 100),
        )


def _dollar_price(input_: str, output: str, write: str, read: str) -> DollarPrice:
    return DollarPrice(
        input=Decimal(input_), output=Decimal(output), cache_write=Decimal(write), cache_read=Decimal(read)
    )


# List prices of November 2026, with caches kept for five minutes:
# https://platform.claude.com/docs/en/about-claude/pricing
PRICES: Mapping[str, DollarPrice] = {
    "claude-fable-5-2": _dollar_price("8", "40", "10", "0.20"),
    **dict.fromkeys(("claude-fable-5-1", "claude-mythos-5-1"), _dollar_price("10", "50", "12.50", "0.25")),
    **dict.fromkeys(("claude-fable-5", "claude-mythos-5"), _dollar_price("10", "50", "12.50", "1")),
    "claude-opus-5-5": _dollar_price("4", "20", "5", "0.20"),
    **dict.fromkeys(
        ("claude-opus-5", "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5"),
        _dollar_price("5", "25", "6.25", "0.50"),
    ),
    "claude-sonnet-5-5": _dollar_price("2", "10", "2.50", "0.10"),
    "claude-sonnet-5": _dollar_price("2", "10", "2.50", "0.20"),
    **dict.fromkeys(("claude-sonnet-4-6", "claude-sonnet-4-5"), _dollar_price("3", "15", "3.75", "0.30")),
    "claude-haiku-5-5": _dollar_price("0.10", "0.50", "0.125", "0.01").model_copy(
        update={"long_above": 100_000, "long_factor": Decimal(5)}
    ),
    "claude-haiku-4-5": _dollar_price("1", "5", "1.25", "0.10"),
}


BUDGET = "CCN_CLAUDE_DAILY_BUDGET_DOLLARS"
"""What an operator is told to set who has set no budget."""


class ClaudeSettings(SettingsGroup):
    """The model that speaks for every character, and what it may cost."""

    api_key: SecretStr = Field(
        default=SecretStr(""), description="The key of the Anthropic API; the stand-in takes any."
    )
    base_url: str = Field(
        default="https://api.anthropic.com",
        pattern=r"^https?://[^\s]+$",
        description="Where the Messages API is; the address of a stand-in to work offline.",
    )
    stand_in: bool = Field(
        default=False,
        description="Whether base_url is a stand-in, which people who talk to it are told; set by ccn up.",
    )
    stand_in_words_s: float = Field(
        default=12.0,
        ge=0,
        le=1_000,
        description="Words a second of the stand-in of ccn up, as fast as one reads; 0 for no pause.",
    )
    model: str = Field(
        default="claude-sonnet-5-5",
        min_length=1,
        max_length=200,
        description="The model of characters whose plate names none.",
    )
    max_tokens: int = Field(
        default=4_096, ge=1, le=128_000, description="Tokens that one reply may have at most."
    )
    timeout_s: Seconds = Field(
        default=30.0,
        description="How long one try may wait for an answer to begin, and then for each next part of it.",
    )
    reply_limit_s: Seconds = Field(default=600.0, description="How long one try may take altogether.")
    prices: Annotated[Mapping[str, DollarPrice], NoDecode] = Field(
        default=PRICES,
        description="Dollars per million tokens by model: input, output, cache_write, cache_read, and for "
        "prompts of more than long_above tokens the long_factor; adds to the prices known by default.",
    )
    daily_budget_dollars: Dollars | None = Field(
        default=None, description="What the whole cluster may spend in a day; no limit if unset."
    )
    character_budget_dollars: Dollars | None = Field(
        default=None, description="What each character may spend in a day; no limit if unset."
    )
    time_zone: str = Field(
        default="UTC", description="The time zone at whose midnight the budgets of the day begin anew."
    )

    @property
    def is_unbounded(self) -> bool:
        """Whether calls cost money, and nothing bounds what all users spend together."""
        return self.daily_budget_dollars is None and not self.stand_in

    @field_validator("prices", mode="before")
    @classmethod
    def _add_known_prices(cls, given: object) -> object:
        """One JSON object in the environment, tables in the file."""
        if isinstance(given, str):
            try:
                given = orjson.loads(given)
            except orjson.JSONDecodeError:
                raise ValueError("not a JSON object of prices by model") from None
        return {**PRICES, **given} if isinstance(given, Mapping) else given

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, given: str) -> str:
        try:
            ZoneInfo(given)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no time zone of that name; say for example Europe/Berlin") from None
        return given


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
        description="redis://user:password@host:port/0, where nodes count together; else each alone.",
    )
    redis_timeout_s: Seconds = Field(
        default=0.05, description="How long a request waits for Redis before this node counts alone."
    )


class ClientSettings(SettingsGroup):
    """Commands that talk to a cluster over HTTP, such as ccn chat."""

    endpoint: str = Field(
        default="",
        pattern=r"^(https?://[^\s]+)?$",
        description="A node of the cluster, as http://host:port; the cluster that runs here if unset.",
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


class PgSettings(SettingsGroup):
    """The embedded PostgreSQL."""

    bin: Path | None = Field(
        default=None, description="Folder with postgres and initdb (16 or newer); found by itself if unset."
    )


_NEVER_FROM_THE_WORKING_FOLDER = frozenset(
    {
        ("claude", "base_url"),
        ("client", "endpoint"),
        ("etcd", "endpoints"),
        ("http", "cors_origins"),
        ("http", "trusted_proxies"),
    }
)
"""With every path and every secret: what runs a program, says where credentials go, or whom to believe."""


class Settings(BaseSettings):
    """All groups together."""

    model_config = SettingsConfigDict(
        env_prefix="CCN_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
    )

    database: DatabaseSettings = DatabaseSettings()
    etcd: EtcdSettings = EtcdSettings()
    node: NodeSettings = NodeSettings()
    http: HttpSettings = HttpSettings()
    grpc: GrpcSettings = GrpcSettings()
    peers: PeersSettings = PeersSettings()
    tls: TlsSettings = TlsSettings()
    cluster: ClusterSettings = ClusterSettings()
    scoring: ScoringSettings = ScoringSettings()
    claude: ClaudeSettings = ClaudeSettings()
    instances: InstancesSettings = InstancesSettings()
    accounts: AccountsSettings = AccountsSettings()
    limits: LimitsSettings = LimitsSettings()
    client: ClientSettings = ClientSettings()
    log: LogSettings = LogSettings()
    retention: RetentionSettings = RetentionSettings()
    pg: PgSettings = PgSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Secrets from their files, variables, the files, the defaults; nothing else is read."""
        del settings_cls, dotenv_settings, file_secret_settings
        return init_settings, env_settings, *map(_toml_source, _settings_files())


@dataclass(frozen=True, slots=True)
class SettingsReading:
    """The settings, and what an operator may ask about them."""

    settings: Settings
    origins: Mapping[tuple[str, str], str]  # where each field that is not a default came from
    ignored: tuple[str, ...]  # CCN_ variables that set nothing

    def field_origin(self, group: str, field: str) -> str:
        """The variable or file that set this field, or `default`."""
        return self.origins.get((group, field), "default")

    def display_field(self, group: str, field: str) -> str:
        """The effective value as people may see it."""
        return display_value(getattr(getattr(self.settings, group), field))


def load() -> Settings:
    """Read the settings, or say which one is wrong and why, without printing its value."""
    return load_with_origins().settings


def load_with_origins() -> SettingsReading:
    """As `load`, telling also where each value came from."""
    origins = dict[tuple[str, str], str]()
    for file in reversed(_settings_files()):
        origins |= {place: str(file) for place in _fields_set_by(_read_table(file))}
    origins |= {place: variable_name(*place) for place in _fields_set_by(EnvSettingsSource(Settings)())}
    given = {name.upper(): value for name, value in os.environ.items() if value}
    ignored, secrets = _check_variables(set(given)), _read_secrets(given)
    origins |= {place: file_variable_name(*place) for place in _fields_set_by(secrets)}
    try:
        return SettingsReading(Settings(**secrets), origins, ignored)
    except ValidationError as refused:
        raise errors.SettingsInvalid("; ".join(_describe_errors(refused, origins))) from None


def is_debugging() -> bool:
    """Whether tracebacks are wanted; answers even when the settings themselves are wrong."""
    return os.environ.get("CCN_LOG_LEVEL", "").lower() == "debug"


def is_colourless() -> bool:
    """Whether the user asked terminals for plain text (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child process that is to read `changes` in place of what this one reads."""
    replaced = {f"{name}_FILE" for name in changes}
    return {**{name: value for name, value in os.environ.items() if name not in replaced}, **changes}


def list_fields() -> Iterator[tuple[str, str]]:
    """Every group and field, in the order they are declared."""
    for group, model in _list_groups().items():
        for field in model.model_fields:
            yield group, field


def variable_name(group: str, field: str) -> str:
    """The environment's name of a field."""
    return f"CCN_{group}_{field}".upper()


def file_variable_name(group: str, field: str) -> str:
    """The environment's name of the file that holds a secret."""
    return f"{variable_name(group, field)}_FILE"


def is_secret(group: str, field: str) -> bool:
    """Whether a field is masked where it is shown, and may stand in a file of its own."""
    return _list_groups()[group].model_fields[field].annotation is SecretStr


def is_refused_from_the_working_folder(group: str, field: str) -> bool:
    """Whether a field is too much for a file that is there without its reader having said so."""
    names_a_file = _list_groups()[group].model_fields[field].annotation == Path | None
    named = (group, field) in _NEVER_FROM_THE_WORKING_FOLDER
    return named or names_a_file or is_secret(group, field)


def field_sentence(group: str, field: str) -> str:
    """What a field means."""
    return _list_groups()[group].model_fields[field].description or ""


def group_sentence(group: str) -> str:
    """What a group is about."""
    return _list_groups()[group].__doc__ or ""


def display_value(value: object) -> str:
    """A value as people may see it: no secret, and of a URL all but its password."""
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return hide_password(secret) if "://" in secret else "********" if secret else ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, Mapping):
        return ",".join(value)
    return "" if value is None else str(value)


def hide_password(url: str) -> str:
    """A URL as people may see it."""
    hidden = re.sub(r"(?<=://)([^:/?#]*):.*@", r"\1:********@", url)
    return re.sub(r"([?&]\w*password=)[^&#]*", r"\1********", hidden, flags=re.IGNORECASE)


def _list_groups() -> dict[str, type[SettingsGroup]]:
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, SettingsGroup)
    }


def _settings_files() -> tuple[Path, ...]:
    return sources.find_files(os.environ.get("CCN_SETTINGS", ""))


def _read_secrets(given: Mapping[str, str]) -> dict[str, Any]:
    """By group and field, what stands in the files that variables name."""
    read = dict[str, dict[str, str]]()
    for group, field in list_fields():
        by_file, by_value = file_variable_name(group, field), variable_name(group, field)
        if not is_secret(group, field) or by_file not in given:
            continue
        if by_value in given:
            raise errors.SettingsInvalid(f"{by_value} and {by_file} are both set: keep one of them")
        read.setdefault(group, {})[field] = sources.read_secret(by_file, Path(given[by_file]).expanduser())
    return read


def _toml_source(file: Path) -> TomlConfigSettingsSource:
    try:
        return TomlConfigSettingsSource(Settings, file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
        raise errors.SettingsInvalid(f"{file} is not TOML: {broken}") from None
    except OSError as unreadable:
        raise errors.SettingsInvalid(f"{file} cannot be read: {unreadable.strerror}") from unreadable


def _read_table(file: Path) -> Mapping[str, object]:
    """What the file sets, every name of it known."""
    read, known = _toml_source(file)(), set(list_fields())
    is_foreign = file == sources.WORKING and not os.environ.get("CCN_SETTINGS")
    for group, table in read.items():
        if not isinstance(table, dict):
            raise errors.SettingsInvalid(f"{file}: {group} stands outside a [group]")
        for field in table:
            if (group, field) not in known:
                meant = _suggest_name(f"[{group}] {field}", [f"[{g}] {f}" for g, f in known])
                raise errors.SettingsInvalid(f"{file}: unknown setting [{group}] {field}{meant}")
            if is_foreign and is_refused_from_the_working_folder(group, field):
                raise errors.SettingsInvalid(
                    f"{file}: [{group}] {field} is not taken from the working folder, which may be "
                    f"somebody else's work: {sources.ELSEWHERE}"
                )
    return read


def _fields_set_by(source: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for group, field in list_fields():
        table = source.get(group)
        if isinstance(table, dict) and field in table:
            yield group, field


# Kubernetes gives every container variables that describe the services around it. A service called ccn
# makes CCN_SERVICE_HOST and its like, which are nobody's mistake.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP)(_\w+)?)?$")


def _check_variables(variables: set[str]) -> tuple[str, ...]:
    """Unknown names of our groups, or nearly so, are refused: a misspelt setting must not pass in silence.

    Others are returned for a warning, since the prefix alone does not make them ours.
    """
    known = {variable_name(*place) for place in list_fields()} | {"CCN_SETTINGS"}
    known |= {file_variable_name(*place) for place in list_fields() if is_secret(*place)}
    unknown = [
        name
        for name in sorted(variables)
        if name.startswith("CCN_") and name not in known and not _SERVICE_LINK.search(name)
    ]
    for name in unknown:
        meant = _suggest_name(name, known)
        if name.split("_")[1].lower() in Settings.model_fields or _looks_like_a_group(name) or meant:
            raise errors.SettingsInvalid(f"unknown setting {name}{meant}")
    return tuple(unknown)


def _looks_like_a_group(name: str) -> bool:
    return bool(difflib.get_close_matches(name.split("_")[1].lower(), Settings.model_fields, 1, 0.75))


def _suggest_name(name: str, known: set[str] | list[str]) -> str:
    found = difflib.get_close_matches(name, sorted(known), 1, 0.85)
    return f" (did you mean {found[0]}?)" if found else ""


def _describe_errors(refused: ValidationError, origins: Mapping[tuple[str, str], str]) -> Iterator[str]:
    for error in refused.errors(include_input=False, include_url=False, include_context=False):
        group, field = str(error["loc"][0]), str(error["loc"][1])
        origin = origins.get((group, field), "default")
        where = origin if origin.startswith("CCN_") else f"{origin}: [{group}] {field}"
        yield f"{where}: {error['msg']}"
