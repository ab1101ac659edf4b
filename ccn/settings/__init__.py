"""What an operator may set: frozen groups, a sentence per field, from the environment and TOML files.

The first source that sets a field wins: the environment, then the file that `CCN_SETTINGS` names (or else
`ccn.toml` in the working folder, then `~/.config/ccn/ccn.toml`), then the defaults of the groups.
`CCN_DATABASE_POOL_SIZE` sets `database.pool_size`, which a file spells `[database] pool_size`. A secret may
also stand in a file of its own, which `CCN_DATABASE_URL_FILE` names. An empty variable counts as unset.

`service.py` and the command line read the settings once and hand each constructor its group. Nobody else
reads them, or the environment, at run time.

    groups, users, claude, prices    what may be set
    fields, links                    what groups are made of
    all_groups                       the groups together, and the order of the sources
    load                             reads them, and refuses what is misspelt or wrong
    environment, sources             the variables, and which files are believed
    explain                          the names of a field, its sentence, its value without a secret
"""

from ccn.settings.all_groups import Settings
from ccn.settings.claude import BUDGET, ClaudeSettings
from ccn.settings.environment import child_environment, is_colourless, is_debugging
from ccn.settings.explain import (
    display_value,
    field_sentence,
    file_variable_name,
    group_sentence,
    hide_password,
    is_refused_from_the_working_folder,
    is_secret,
    list_fields,
    variable_name,
)
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
from ccn.settings.links import DoorTls, ServerTls
from ccn.settings.load import SettingsReading, load, load_with_origins
from ccn.settings.prices import PRICES, DollarPrice
from ccn.settings.users import AccountsSettings, LimitsSettings

__all__ = [
    "BUDGET",
    "PRICES",
    "AccountsSettings",
    "ClaudeSettings",
    "ClientSettings",
    "ClusterSettings",
    "DatabaseSettings",
    "DollarPrice",
    "DoorTls",
    "EtcdSettings",
    "GrpcSettings",
    "HttpSettings",
    "InstancesSettings",
    "LimitsSettings",
    "LogSettings",
    "NodeSettings",
    "PeersSettings",
    "PgSettings",
    "RetentionSettings",
    "ScoringSettings",
    "ServerTls",
    "Settings",
    "SettingsReading",
    "TlsSettings",
    "child_environment",
    "display_value",
    "field_sentence",
    "file_variable_name",
    "group_sentence",
    "hide_password",
    "is_colourless",
    "is_debugging",
    "is_refused_from_the_working_folder",
    "is_secret",
    "list_fields",
    "load",
    "load_with_origins",
    "variable_name",
]
