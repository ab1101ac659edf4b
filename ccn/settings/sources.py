"""The files that settings come from: which are read and believed, and those with one secret each.

Apart from `settings.py`, which says what may be set: these rules know owners and modes, and no setting.
A file is believed because its reader named it or keeps it at home. `ccn.toml` of the working folder is
there without anybody having said so, and whoever wrote that folder may be a stranger.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ccn import errors

WORKING: Final = Path("ccn.toml")
ELSEWHERE: Final = "put it into the file of CCN_SETTINGS or ~/.config/ccn/ccn.toml"
_SECRET_LIMIT: Final = 65_536
_GROUP_OR_OTHERS_WRITE: Final = 0o022
_ROOT: Final = 0  # could change whatever runs here anyway


def find_files(named: str) -> tuple[Path, ...]:
    """The files to read, the first to win: the named one, else the working folder's and one's own."""
    if named:
        if not Path(named).is_file():
            raise errors.SettingsInvalid(f"CCN_SETTINGS names {named}, which is not a file")
        return (Path(named),)
    own = own_file()
    kept = (own,) if own.is_absolute() and _is_file(own) else ()
    if not _is_file(WORKING) or (kept and WORKING.samefile(own)):
        return kept
    refuse_foreign_file(WORKING)
    return (WORKING, *kept)


def own_file() -> Path:
    """Where a user keeps settings for all folders."""
    import platformdirs  # noqa: PLC0415 - start-up must be quick

    return platformdirs.user_config_path("ccn", appauthor=False) / "ccn.toml"


def refuse_foreign_file(file: Path) -> None:
    """A file in the working folder that somebody else wrote, or could replace, decides nothing here."""
    try:
        target = file.resolve(strict=True)
        for path in dict.fromkeys(
            (Path.cwd(), target.parent, target)
        ):  # folders first: then nobody swaps it
            about = path.stat()
            if why := explain_doubt(about.st_uid, about.st_mode, me=os.geteuid()):
                raise errors.SettingsInvalid(
                    f"{file} is not read, since {path} {why}; or work in a folder of your own, or "
                    "name the file in CCN_SETTINGS if you trust it"
                )
    except OSError as unreadable:
        raise errors.SettingsInvalid(f"{file} cannot be read: {unreadable.strerror}") from unreadable


def explain_doubt(owner: int, mode: int, *, me: int) -> str:
    """Why somebody else decides what is in a file or folder, and what to do; else empty."""
    if owner not in {_ROOT, me}:
        return "belongs to another user: copy what you trust"
    return "can be written by others: chmod go-w it" if mode & _GROUP_OR_OTHERS_WRITE else ""


def read_secret(variable: str, file: Path) -> str:
    """What the file holds that a variable names, without the end of its line; no error shows any of it."""
    try:
        with file.open("rb") as opened:
            held = opened.read(_SECRET_LIMIT + 1)
        text = held.decode()
    except OSError as unreadable:
        why = unreadable.strerror
        raise errors.SettingsInvalid(
            f"{variable} names {file}, which cannot be read: {why}"
        ) from unreadable
    except UnicodeDecodeError:
        raise errors.SettingsInvalid(f"{variable} names {file}, which is no text") from None
    if len(held) > _SECRET_LIMIT:
        raise errors.SettingsInvalid(f"{variable} names {file}, which is too long for a secret")
    if not (kept := text.rstrip("\r\n")):
        raise errors.SettingsInvalid(f"{variable} names {file}, which is empty")
    return kept


def _is_file(file: Path) -> bool:
    """A folder that one may not look into holds nothing."""
    try:
        return file.is_file()
    except OSError:
        return False
