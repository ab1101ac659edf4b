"""Reads PEM files that settings name.

Separate from `identity`, because `etcd` reads the files of its certificates here as well.
"""

from __future__ import annotations

from pathlib import Path

from ccn import errors


def read_pem(variable: str, file: Path) -> bytes:
    """Read the file that a setting names, or say in words why it cannot be used."""
    try:
        text = file.read_bytes()
    except OSError as unreadable:
        raise errors.SettingsInvalid(
            f"{variable}: {file} cannot be read: {unreadable.strerror}"
        ) from unreadable
    if b"-----BEGIN " not in text:
        raise errors.SettingsInvalid(f"{variable}: {file} is not a PEM file")
    return text
