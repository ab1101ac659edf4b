"""A copy of PostgreSQL's programs where the account `nobody` can run them.

Separate because it happens only to root with its programs inside a private folder, and because root then
runs what lies in the copy: who may write there is the whole question. Shared libraries and share/ travel
along, since PostgreSQL finds both relative to its programs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from ccn import errors
from ccn.embedded import binaries, folder, scratch, unprivileged_user
from ccn.embedded.binaries import PostgresPrograms
from ccn.embedded.unprivileged_user import UnixAccount

_PARTS = ("bin", "lib", "share")
_NEEDLESS = ("*.a", "pgxs", "pkgconfig", "include", "__pycache__")


def ensure_reachable(
    found: PostgresPrograms, account: UnixAccount | None, below: Path = unprivileged_user.SHARED
) -> PostgresPrograms:
    """`found` itself where `account` can run it; else a copy below `below`, made once per content."""
    if account is None:
        return found
    if (
        unprivileged_user.can_reach(account, found.bin)
        and (found.bin / "postgres").stat().st_mode & stat.S_IXOTH
    ):
        return found
    trees = dict(_find_trees(found))
    place = (
        unprivileged_user.make_shared_folder("programs", below)
        / f"postgresql-{found.version}-{_content_digest(trees)}"
    )
    if not place.exists():
        _copy_installation(trees, place)
    _refuse_unless_roots(place)
    prefix = next(iter(trees))
    return binaries.find_postgres(place / prefix / "bin")


def _find_trees(found: PostgresPrograms) -> Iterator[tuple[str, Path]]:
    """What to copy, by its path in the copy: the installation, then the libraries of a wheel beside it."""
    prefix = found.bin.resolve().parent
    if not any((prefix / "share").glob("**/postgres.bki")):
        raise errors.BinaryMissing(
            f"the account nobody cannot reach {found.bin}, and it is not part of a whole installation that "
            "could be copied. Move PostgreSQL to where everybody can read it, or run as an ordinary user."
        )
    libraries = prefix.parent.with_name(prefix.parent.name + ".libs")
    if libraries.is_dir():
        yield f"{prefix.parent.name}/{prefix.name}", prefix
        yield libraries.name, libraries
    else:
        yield prefix.name, prefix


def _copy_installation(trees: dict[str, Path], place: Path) -> None:
    """Copy beside `place` and rename: `place` is whole or absent, whoever is killed or comes twice."""
    with folder.translate_refusals(place.parent), scratch.scratch_folder("copy", place.parent) as held:
        needed = sum(source.stat().st_size for tree in trees.values() for source in _list_files(tree))
        folder.ensure_room(place.parent, needed + 16 * 1024**2)
        making = held / "copy"
        for name, tree in trees.items():
            for part in _list_parts(tree):
                _copy_tree(part, making / name / part.relative_to(tree))
        for each in (making, *making.rglob("*")):
            _give_to_root(each)
        _rename_copy(making, place)


def _copy_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*_NEEDLESS), dirs_exist_ok=True)


def _rename_copy(making: Path, place: Path) -> None:
    try:
        making.rename(place)
    except OSError:
        # Somebody else, starting at the same time, was faster with the same content.
        if not place.is_dir():
            raise


def _give_to_root(path: Path) -> None:
    os.chown(path, 0, 0, follow_symlinks=False)
    if not path.is_symlink():
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)


def _refuse_unless_roots(place: Path) -> None:
    """The parents were checked when they were made; inside, only root can have written."""
    info = place.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != 0 or info.st_mode & 0o022:
        raise errors.BinaryMissing(f"{place} was not made by root or can be written by others: remove it")


def _content_digest(trees: dict[str, Path]) -> str:
    """The content, told by names and sizes of all files and the bytes of the server program."""
    told = hashlib.sha256()
    for name, tree in sorted(trees.items()):
        for path in sorted(_list_files(tree)):
            told.update(f"{name}/{path.relative_to(tree)} {path.stat().st_size}\n".encode())
        if (tree / "bin" / "postgres").is_file():
            told.update((tree / "bin" / "postgres").read_bytes())
    return told.hexdigest()[:16]


def _list_files(tree: Path) -> Iterator[Path]:
    for part in _list_parts(tree):
        yield from (each for each in part.rglob("*") if each.is_file() and each.suffix != ".a")


def _list_parts(tree: Path) -> list[Path]:
    """The folders of an installation that its programs use; of a folder of libraries, the whole."""
    return [tree / part for part in _PARTS if (tree / part).is_dir()] or [tree]
