"""Which files settings are read from, and which of them are believed; and files with one secret each.

Separate from `load`: these rules know owners and modes of files, and no setting. A file is believed because
its reader named it or keeps it at home. Nobody chose the `ccn.toml` of the working folder, and a stranger
may have written it.
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
    """Return the files to read, the first to win: a named one alone, else the folder's and one's own."""
    if named:
        if not Path(named).is_file():
            raise errors.SettingsInvalid(f"CCN_SETTINGS names {named}, which is not a file")
        return (Path(named),)
    own = own_file()
    # Where the home is not known its path is relative, and would name a file of the working folder.
    has_own = own.is_absolute() and _is_file(own)
    if not _is_file(WORKING) or (has_own and WORKING.samefile(own)):
        return (own,) if has_own else ()
    refuse_foreign_file(WORKING)
    return (WORKING, own) if has_own else (WORKING,)


def own_file() -> Path:
    """Return the file in which a user keeps settings for all folders."""
    import platformdirs  # noqa: PLC0415 - start-up must be quick

    return platformdirs.user_config_path("ccn", appauthor=False) / "ccn.toml"


def refuse_foreign_file(file: Path) -> None:
    """Refuse a file of the working folder that somebody else wrote or could replace."""
    try:
        target = file.resolve(strict=True)
        # Folders before the file: once they are known to be safe, nobody can exchange what lies in them.
        for path in dict.fromkeys((Path.cwd(), target.parent, target)):
            about = path.stat()
            if why := explain_doubt(about.st_uid, about.st_mode, me=os.geteuid()):
                raise errors.SettingsInvalid(
                    f"{file} is not read, since {path} {why}; or work in a folder of your own, or "
                    "name the file in CCN_SETTINGS if you trust it"
                )
    except OSError as unreadable:
        raise errors.SettingsInvalid(f"{file} cannot be read: {unreadable.strerror}") from unreadable


def explain_doubt(owner: int, mode: int, *, me: int) -> str:
    """Say why somebody else decides what is in a file or folder, and what to do; else empty."""
    if owner not in {_ROOT, me}:
        return "belongs to another user: copy what you trust"
    return "can be written by others: chmod go-w it" if mode & _GROUP_OR_OTHERS_WRITE else ""


def read_secret(variable: str, file: Path) -> str:
    """Read the secret in the file that a variable names, without the end of its line.

    No error shows any of it.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(_SECRET_LIMIT + 1)
        text = content.decode()
    except OSError as unreadable:
        why = unreadable.strerror
        raise errors.SettingsInvalid(
            f"{variable} names {file}, which cannot be read: {why}"
        ) from unreadable
    except UnicodeDecodeError:
        raise errors.SettingsInvalid(f"{variable} names {file}, which is no text") from None
    if len(content) > _SECRET_LIMIT:
        raise errors.SettingsInvalid(f"{variable} names {file}, which is too long for a secret")
    if not (secret := text.rstrip("\r\n")):
        raise errors.SettingsInvalid(f"{variable} names {file}, which is empty")
    return secret


def _is_file(file: Path) -> bool:
    """Whether there is a file; in a folder that one may not look into there is none."""
    try:
        return file.is_file()
    except OSError:
        return False
