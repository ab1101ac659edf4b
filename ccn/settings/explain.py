"""What an operator may ask about a setting: its names, its sentence, its value without a secret.

Separate from `load`: nothing here reads anything but the declarations of the groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import SecretStr

from ccn.settings.all_groups import Settings
from ccn.settings.fields import SettingsGroup

_NEVER_FROM_THE_WORKING_FOLDER = frozenset(
    {
        ("claude", "base_url"),
        ("client", "endpoint"),
        ("database", "insecure"),
        ("etcd", "endpoints"),
        ("etcd", "insecure"),
        ("grpc", "insecure"),
        ("http", "advertise"),
        ("http", "cors_origins"),
        ("http", "insecure"),
        ("http", "trusted_proxies"),
        ("limits", "redis_insecure"),
    }
)
"""Fields that say where credentials go or whom to believe, or take TLS away.

Paths and secrets are refused by their types.
"""


def list_fields() -> Iterator[tuple[str, str]]:
    """Yield every group and field, in the order they are declared."""
    for group, model in _list_groups().items():
        for field in model.model_fields:
            yield group, field


def variable_name(group: str, field: str) -> str:
    """Name the variable that sets a field."""
    return f"CCN_{group}_{field}".upper()


def file_variable_name(group: str, field: str) -> str:
    """Name the variable that names the file with a secret."""
    return f"{variable_name(group, field)}_FILE"


def is_secret(group: str, field: str) -> bool:
    """Whether a field is masked where it is shown, and may stand in a file of its own."""
    return _list_groups()[group].model_fields[field].annotation is SecretStr


def is_refused_from_the_working_folder(group: str, field: str) -> bool:
    """Whether a field is too much for a file that nobody chose: the `ccn.toml` of the working folder."""
    names_a_file = _list_groups()[group].model_fields[field].annotation == Path | None
    named = (group, field) in _NEVER_FROM_THE_WORKING_FOLDER
    return named or names_a_file or is_secret(group, field)


def field_sentence(group: str, field: str) -> str:
    """Say what a field means."""
    return _list_groups()[group].model_fields[field].description or ""


def group_sentence(group: str) -> str:
    """Say what a group is about."""
    return _list_groups()[group].__doc__ or ""


def display_value(value: object) -> str:
    """Write a value as people may see it: no secret, and of a URL all but its password."""
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        return hide_password(secret) if "://" in secret else "********" if secret else ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, Mapping):
        return ",".join(value)
    return "" if value is None else str(value)


def hide_password(url: str) -> str:
    """Put stars in place of the passwords of a URL."""
    hidden = re.sub(r"(?<=://)([^:/?#]*):.*@", r"\1:********@", url)
    return re.sub(r"([?&]\w*password=)[^&#]*", r"\1********", hidden, flags=re.IGNORECASE)


def _list_groups() -> dict[str, type[SettingsGroup]]:
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, SettingsGroup)
    }
