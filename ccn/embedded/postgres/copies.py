"""Copies PostgreSQL's programs to where the account `nobody` can run them.

Separate because only root with its programs inside a private folder needs this, and because root then
runs what lies in the copy: who may write there is the whole question. Shared libraries and share/ are
copied along, since PostgreSQL finds both relative to its programs.
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
    programs: PostgresPrograms, account: UnixAccount | None, below: Path = unprivileged_user.SHARED
) -> PostgresPrograms:
    """Return `programs` themselves if `account` can run them, else a copy below `below`.

    The copy is made once per content.
    """
    if account is None:
        return programs
    if (
        unprivileged_user.can_reach(account, programs.bin)
        and (programs.bin / "postgres").stat().st_mode & stat.S_IXOTH
    ):
        return programs
    trees = dict(_find_trees(programs))
    place = (
        unprivileged_user.make_shared_folder("programs", below)
        / f"postgresql-{programs.version}-{_content_digest(trees)}"
    )
    if not place.exists():
        _copy_installation(trees, place)
    _refuse_unless_roots(place)
    prefix = next(iter(trees))
    return binaries.find_postgres(place / prefix / "bin")


def _find_trees(programs: PostgresPrograms) -> Iterator[tuple[str, Path]]:
    """List what to copy, by its path in the copy: the installation, then libraries of a wheel beside it."""
    prefix = programs.bin.resolve().parent
    if not any((prefix / "share").glob("**/postgres.bki")):
        raise errors.BinaryMissing(
            f"the account nobody cannot reach {programs.bin}, and it is not part of a whole installation "
            "that could be copied. Move PostgreSQL to where everybody can read it, or run as an ordinary "
            "user."
        )
    libraries = prefix.parent.with_name(prefix.parent.name + ".libs")
    if libraries.is_dir():
        yield f"{prefix.parent.name}/{prefix.name}", prefix
        yield libraries.name, libraries
    else:
        yield prefix.name, prefix


def _copy_installation(trees: dict[str, Path], place: Path) -> None:
    """Copy beside `place` and rename: `place` is whole or absent, also after a kill or a second copy."""
    with folder.translate_refusals(place.parent), scratch.scratch_folder("copy", place.parent) as temporary:
        needed = sum(source.stat().st_size for tree in trees.values() for source in _list_files(tree))
        folder.ensure_room(place.parent, needed + 16 * 1024**2)
        making = temporary / "copy"
        for name, tree in trees.items():
            for part in _list_parts(tree):
                _copy_tree(part, making / name / part.relative_to(tree))
        for path in (making, *making.rglob("*")):
            _give_to_root(path)
        _rename_copy(making, place)


def _copy_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*_NEEDLESS), dirs_exist_ok=True)


def _rename_copy(making: Path, place: Path) -> None:
    try:
        making.rename(place)
    except OSError:
        # Another process that started at the same time was faster, with the same content.
        if not place.is_dir():
            raise


def _give_to_root(path: Path) -> None:
    os.chown(path, 0, 0, follow_symlinks=False)
    if not path.is_symlink():
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)


def _refuse_unless_roots(place: Path) -> None:
    """Refuse a place that others can write.

    Its parents were checked when they were made; inside, only root wrote.
    """
    info = place.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != 0 or info.st_mode & 0o022:
        raise errors.BinaryMissing(f"{place} was not made by root or can be written by others: remove it")


def _content_digest(trees: dict[str, Path]) -> str:
    """Hash the content: names and sizes of all files, and the bytes of the server program."""
    digest = hashlib.sha256()
    for name, tree in sorted(trees.items()):
        for path in sorted(_list_files(tree)):
            digest.update(f"{name}/{path.relative_to(tree)} {path.stat().st_size}\n".encode())
        if (tree / "bin" / "postgres").is_file():
            digest.update((tree / "bin" / "postgres").read_bytes())
    return digest.hexdigest()[:16]


def _list_files(tree: Path) -> Iterator[Path]:
    for part in _list_parts(tree):
        yield from (file for file in part.rglob("*") if file.is_file() and file.suffix != ".a")


def _list_parts(tree: Path) -> list[Path]:
    """List the folders of an installation that its programs use; of a folder of libraries, the whole."""
    return [tree / part for part in _PARTS if (tree / part).is_dir()] or [tree]
