"""The environment of this process, which only this module reads.

Separate from `load`, so that whoever needs one variable, or the environment of a child, needs no settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ccn.settings import sources

FILE_VARIABLE = "CCN_SETTINGS"
"""Names the file with the settings."""


def read_variables() -> dict[str, str]:
    """Return the variables that are set, by their names in capitals; an empty one counts as unset."""
    return {name.upper(): value for name, value in os.environ.items() if value}


def names_a_file() -> bool:
    """Whether a variable names the file with the settings, which is believed then."""
    return bool(os.environ.get(FILE_VARIABLE))


def find_settings_files() -> tuple[Path, ...]:
    """Return the files to read, the first to win."""
    return sources.find_files(os.environ.get(FILE_VARIABLE, ""))


def is_debugging() -> bool:
    """Whether tracebacks are wanted; answers even when the settings themselves are wrong."""
    return os.environ.get("CCN_LOG_LEVEL", "").lower() == "debug"


def is_colourless() -> bool:
    """Whether the user asked terminals for plain text (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a child process, with `changes` in place of what this process reads.

    A file that holds a secret counts as much as its variable, so `changes` replace it as well.
    """
    replaced = {f"{name}_FILE" for name in changes}
    return {**{name: value for name, value in os.environ.items() if name not in replaced}, **changes}
