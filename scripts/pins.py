"""Says where scripts/constraints.txt and pyproject.toml disagree; reads files only, asks no index.

Stands beside scripts/pin, which writes the pins: this one has to work offline, in every check.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

HERE = Path(__file__).parent


def complaints(project: str, constraints: str) -> Iterator[str]:
    """What a new environment would get wrong: unpinned, contradicted, unhashed or superfluous packages."""
    wanted = list(requirements(project))
    pins = pinned(constraints)
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        if name not in pins:
            yield f"{requirement} is not pinned"
        elif pins[name] not in requirement.specifier:
            yield f"{requirement} is pinned at {pins[name]}"
    for block in re.split(r"\n(?=\S)", constraints.strip()):
        if "--hash=sha256:" not in block:
            yield f"no hash: {block.splitlines()[0]}"
    needed = closure(wanted)
    yield from (f"nothing needs {name}" for name in sorted(pins.keys() - needed) if _installed(name))


def requirements(project: str) -> Iterator[Requirement]:
    """Every requirement that pyproject.toml states, of all extras."""
    table = tomllib.loads(project)["project"]
    for stated in [table["dependencies"], *table.get("optional-dependencies", {}).values()]:
        yield from map(Requirement, stated)


def pinned(constraints: str) -> Mapping[str, Version]:
    """Package name to its one version."""
    lines = re.findall(r"^([\w.-]+)==([^\s;]+)", constraints, re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in lines}


def closure(wanted: list[Requirement]) -> set[str]:
    """The wanted packages and all that they need in turn, as far as they are installed here."""
    found: set[str] = set()
    queue = [(canonicalize_name(r.name), frozenset(r.extras)) for r in wanted]
    seen = set(queue)
    while queue:
        name, extras = queue.pop()
        found.add(name)
        for text in (metadata.requires(name) or []) if _installed(name) else []:
            needs = Requirement(text)
            if needs.marker and not any(needs.marker.evaluate({"extra": e}) for e in {"", *extras}):
                continue
            item = (canonicalize_name(needs.name), frozenset(needs.extras))
            if item not in seen:
                seen.add(item)
                queue.append(item)
    return found


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    found = list(
        complaints((HERE.parent / "pyproject.toml").read_text(), (HERE / "constraints.txt").read_text())
    )
    sys.exit("\n".join([*found, "scripts/pin brings the pins up to date"]) if found else 0)
