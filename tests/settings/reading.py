"""Reads the settings as a process with these variables would."""

from __future__ import annotations

import pytest

from ccn import errors, settings


def read(variables: dict[str, str]) -> settings.SettingsReading:
    """Read the settings with these variables set."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return settings.load_with_origins()


def refusal(variables: dict[str, str]) -> str:
    """Return the words with which these variables are refused."""
    with pytest.raises(errors.SettingsInvalid) as refused:
        read(variables)
    return str(refused.value)
