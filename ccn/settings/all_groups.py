"""All groups of settings together, and the order of the sources that may set them."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ccn import errors
from ccn.settings import environment
from ccn.settings.claude import ClaudeSettings
from ccn.settings.groups import (
    ClientSettings,
    ClusterSettings,
    DatabaseSettings,
    EtcdSettings,
    GrpcSettings,
    HttpSettings,
    InstancesSettings,
    LogSettings,
    NodeSettings,
    PeersSettings,
    PgSettings,
    RetentionSettings,
    ScoringSettings,
    TlsSettings,
)
from ccn.settings.users import AccountsSettings, LimitsSettings


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
        """Name the sources, the first to win: secrets that `load` read, variables, files, defaults."""
        del settings_cls, dotenv_settings, file_secret_settings
        return init_settings, env_settings, *map(open_toml, environment.find_settings_files())


def open_toml(file: Path) -> TomlConfigSettingsSource:
    """Read a file, or say why it cannot be read."""
    try:
        return TomlConfigSettingsSource(Settings, file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
        raise errors.SettingsInvalid(f"{file} is not TOML: {broken}") from None
    except OSError as unreadable:
        raise errors.SettingsInvalid(f"{file} cannot be read: {unreadable.strerror}") from unreadable
