"""Reads the settings from the environment and files, and refuses by name what is misspelt or wrong.

    load ──> files: every name known, nothing foreign that is too much for the working folder
         ──> variables: every name of ours known
         ──> secrets: each from its variable or from its file
         ──> Settings: every value of its type

No error shows a value.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from ccn import errors
from ccn.settings import all_groups, environment, explain, sources
from ccn.settings.all_groups import Settings

Place = tuple[str, str]
"""A group and a field of it."""

# Kubernetes gives every container variables that describe the services around it. A service called ccn
# makes CCN_SERVICE_HOST and its like, which are nobody's mistake.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP)(_\w+)?)?$")


@dataclass(frozen=True, slots=True)
class SettingsReading:
    """The settings, and what an operator may ask about them."""

    settings: Settings
    origins: Mapping[Place, str]  # where each field that is not a default came from
    ignored: tuple[str, ...]  # CCN_ variables that set nothing

    def field_origin(self, group: str, field: str) -> str:
        """Return the variable or file that set this field, or `default`."""
        return self.origins.get((group, field), "default")

    def display_field(self, group: str, field: str) -> str:
        """Write the effective value as people may see it."""
        return explain.display_value(getattr(getattr(self.settings, group), field))


def load() -> Settings:
    """Read the settings, or say which one is wrong and why, without printing its value."""
    return load_with_origins().settings


def load_with_origins() -> SettingsReading:
    """As `load`, telling also where each value came from."""
    origins = dict[Place, str]()
    for file in reversed(environment.find_settings_files()):
        origins |= {place: str(file) for place in _fields_set_by(_read_table(file))}
    from_variables = _fields_set_by(EnvSettingsSource(Settings)())
    origins |= {place: explain.variable_name(*place) for place in from_variables}
    variables = environment.read_variables()
    ignored = _check_variables(set(variables))
    secrets = _read_secrets(variables)
    origins |= {place: explain.file_variable_name(*place) for place in _fields_set_by(secrets)}
    try:
        return SettingsReading(Settings(**secrets), origins, ignored)
    except ValidationError as refused:
        raise errors.SettingsInvalid("; ".join(_describe_errors(refused, origins))) from None


def _read_table(file: Path) -> Mapping[str, object]:
    """Read what the file sets. Refuse unknown names, and what the working folder may not set."""
    tables = all_groups.open_toml(file)()
    known = set(explain.list_fields())
    is_foreign = file == sources.WORKING and not environment.names_a_file()
    for group, table in tables.items():
        if not isinstance(table, dict):
            raise errors.SettingsInvalid(f"{file}: {group} stands outside a [group]")
        for field in table:
            if (group, field) not in known:
                meant = _suggest_name(f"[{group}] {field}", [f"[{g}] {f}" for g, f in known])
                raise errors.SettingsInvalid(f"{file}: unknown setting [{group}] {field}{meant}")
            if is_foreign and explain.is_refused_from_the_working_folder(group, field):
                raise errors.SettingsInvalid(
                    f"{file}: [{group}] {field} is not taken from the working folder, which may be "
                    f"somebody else's work: {sources.ELSEWHERE}"
                )
    return tables


def _check_variables(variables: set[str]) -> tuple[str, ...]:
    """Refuse unknown names of our groups, or nearly so: a misspelt setting must not pass in silence.

    Return the others for a warning, since the prefix alone does not make them ours.
    """
    unknown = sorted(name for name in variables - _known_variables() if name.startswith("CCN_"))
    unknown = [name for name in unknown if not _SERVICE_LINK.search(name)]
    for name in unknown:
        meant = _suggest_name(name, _known_variables())
        if name.split("_")[1].lower() in Settings.model_fields or _looks_like_a_group(name) or meant:
            raise errors.SettingsInvalid(f"unknown setting {name}{meant}")
    return tuple(unknown)


def _known_variables() -> set[str]:
    values = {explain.variable_name(*place) for place in explain.list_fields()}
    secrets = {place for place in explain.list_fields() if explain.is_secret(*place)}
    files = {explain.file_variable_name(*place) for place in secrets}
    return values | files | {environment.FILE_VARIABLE}


def _read_secrets(variables: Mapping[str, str]) -> dict[str, Any]:
    """Read, by group and field, the files of secrets that variables name."""
    secrets = dict[str, dict[str, str]]()
    for group, field in explain.list_fields():
        by_file = explain.file_variable_name(group, field)
        if not explain.is_secret(group, field) or by_file not in variables:
            continue
        by_value = explain.variable_name(group, field)
        if by_value in variables:
            raise errors.SettingsInvalid(f"{by_value} and {by_file} are both set: keep one of them")
        file = Path(variables[by_file]).expanduser()
        secrets.setdefault(group, {})[field] = sources.read_secret(by_file, file)
    return secrets


def _fields_set_by(source: Mapping[str, object]) -> Iterator[Place]:
    for group, field in explain.list_fields():
        table = source.get(group)
        if isinstance(table, dict) and field in table:
            yield group, field


def _looks_like_a_group(name: str) -> bool:
    return bool(difflib.get_close_matches(name.split("_")[1].lower(), Settings.model_fields, 1, 0.75))


def _suggest_name(name: str, known: set[str] | list[str]) -> str:
    nearest = difflib.get_close_matches(name, sorted(known), 1, 0.85)
    return f" (did you mean {nearest[0]}?)" if nearest else ""


def _describe_errors(refused: ValidationError, origins: Mapping[Place, str]) -> Iterator[str]:
    for error in refused.errors(include_input=False, include_url=False, include_context=False):
        group, field = str(error["loc"][0]), str(error["loc"][1])
        origin = origins.get((group, field), "default")
        where = origin if origin.startswith("CCN_") else f"{origin}: [{group}] {field}"
        yield f"{where}: {error['msg']}"
