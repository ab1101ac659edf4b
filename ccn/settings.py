"""What an operator may set: frozen groups, a sentence per field, from the environment and one TOML file.

The only reader of the environment. `service.py` and the command line hand each constructor its group;
nobody else looks here at run time. Order: environment, then the file that `CCN_SETTINGS` names
(or `ccn.toml` in the working folder), then the defaults below. `CCN_DATABASE_POOL_SIZE` sets
`database.pool_size`, which the file spells `[database] pool_size`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ccn import errors

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Database(_Group):
    """PostgreSQL, the one place where things survive."""

    url: SecretStr = Field(SecretStr(""), description="Where PostgreSQL listens: postgresql://user:password@host:port/name.")
    pool_size: int = Field(8, ge=1, le=200, description="Connections one node keeps for reading.")
    connect_timeout_s: Seconds = Field(5.0, description="How long one attempt to connect may take.")
    statement_timeout_s: Seconds = Field(30.0, description="How long one statement may run.")
    write_queue_limit: int = Field(10_000, ge=1, description="Writes that may wait for the group commit before callers are refused.")
    write_batch_limit: int = Field(512, ge=1, le=10_000, description="Writes that share one transaction at most.")


class Etcd(_Group):
    """etcd, which only tells who is here and who leads."""

    endpoints: tuple[str, ...] = Field((), description="host:port of each member.")
    lease_ttl_s: Seconds = Field(5.0, description="How long a silent node counts as alive.")
    bin: Path | None = Field(None, description="The etcd program for embedded use; found by itself if unset.")


class Node(_Group):
    """This process."""

    id: str = Field("node-1", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", description="The name of this node, unique in the cluster.")
    state_dir: Path | None = Field(None, description="Where this node keeps its signing key and what it last signed.")
    shutdown_timeout_s: Seconds = Field(10.0, description="How long running work may take to finish on shutdown.")


class Http(_Group):
    """The HTTP door."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(7700, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")


class Grpc(_Group):
    """The gRPC door."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(7701, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")


class Log(_Group):
    """What is written about what happens; never content, never secrets."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least severe line that is written.")
    format: Literal["console", "json"] = Field("console", description="For people, or one JSON object on a line.")


class Retention(_Group):
    """How long content is kept. The record of what happened stays; the words go."""

    content_days: int = Field(90, ge=0, description="Days until content is redacted; 0 keeps it for ever.")
    turn_event_hours: int = Field(24, ge=1, description="Hours for which a finished turn's stream can be replayed.")
    time_series_days: int = Field(730, ge=1, description="Days for which vectors and metrics are kept.")


class Pg(_Group):
    """The embedded PostgreSQL."""

    bin: Path | None = Field(None, description="Folder with postgres and initdb (16 or newer); found by itself if unset.")


class Settings(BaseSettings):
    """All groups together."""

    model_config = SettingsConfigDict(
        env_prefix="CCN_", env_nested_delimiter="_", env_nested_max_split=1, extra="forbid", frozen=True
    )

    database: Database = Database()
    etcd: Etcd = Etcd()
    node: Node = Node()
    http: Http = Http()
    grpc: Grpc = Grpc()
    log: Log = Log()
    retention: Retention = Retention()
    pg: Pg = Pg()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before file before defaults; nothing else is read."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _file())


def _file() -> Path | None:
    named = os.environ.get("CCN_SETTINGS")
    if named is None:
        return Path("ccn.toml")
    if not Path(named).is_file():
        raise errors.SettingsInvalid(f"CCN_SETTINGS names {named}, which is not a file")
    return Path(named)


def load() -> Settings:
    """Read the settings, or say which one is wrong and why, without printing its value."""
    try:
        return Settings()
    except ValidationError as refused:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in refused.errors(include_input=False)]
        raise errors.SettingsInvalid("; ".join(lines)) from None
