"""Says where scripts/constraints.txt and pyproject.toml disagree; reads files only, asks no index.

With --write it writes the pins of the image, which are some of these: what CCN needs to run, without any
extra, and what builds its wheel. Stands beside scripts/pin, which writes the pins: this one has to work
offline, in every check.
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
IMAGE = HERE.parent / "deploy" / "image"
IMAGE_PYTHON = {"python_version": "3.13", "python_full_version": "3.13.0"}


def complaints(project: str, constraints: str) -> Iterator[str]:
    """List packages that a new environment would get wrong: unpinned, contradicted, unhashed, unneeded."""
    wanted = list(requirements(project))
    pins = pinned(constraints)
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        if name not in pins:
            yield f"{requirement} is not pinned"
        elif pins[name] not in requirement.specifier:
            yield f"{requirement} is pinned at {pins[name]}"
    for block in pin_blocks(constraints):
        if "--hash=sha256:" not in block:
            yield f"no hash: {block.splitlines()[0]}"
    needed = closure(wanted)
    yield from (f"nothing needs {name}" for name in sorted(pins.keys() - needed) if _installed(name))


def image_pins(project: str, constraints: str) -> Mapping[str, str]:
    """The pins of the image by the name of their file, as far as all they need is installed here."""
    table = tomllib.loads(project)
    wanted = {
        "runtime.txt": table["project"]["dependencies"],
        "building.txt": table["build-system"]["requires"],
    }
    needed = {file: closure([*map(Requirement, stated)], IMAGE_PYTHON) for file, stated in wanted.items()}
    return {
        file: "".join(f"{block}\n" for block in pin_blocks(constraints) if pinned(block).keys() & names)
        for file, names in needed.items()
    }


def pin_blocks(constraints: str) -> list[str]:
    """Each package with its version and hashes."""
    return re.split(r"\n(?=\S)", constraints.strip())


def requirements(project: str) -> Iterator[Requirement]:
    """List every requirement that pyproject.toml states, of all extras."""
    table = tomllib.loads(project)["project"]
    for stated in [table["dependencies"], *table.get("optional-dependencies", {}).values()]:
        yield from map(Requirement, stated)


def pinned(constraints: str) -> Mapping[str, Version]:
    """Map each package's name to its one version."""
    lines = re.findall(r"^([\w.-]+)==([^\s;]+)", constraints, re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in lines}


def closure(wanted: list[Requirement], python: Mapping[str, str] | None = None) -> set[str]:
    """The wanted packages and all that they need in turn, as far as they are installed here.

    For the Python that runs this, or for another one.
    """
    found: set[str] = set()
    queue = [(canonicalize_name(r.name), frozenset(r.extras)) for r in wanted]
    seen = set(queue)
    while queue:
        name, extras = queue.pop()
        found.add(name)
        for text in (metadata.requires(name) or []) if _installed(name) else []:
            needs = Requirement(text)
            if needs.marker and not any(
                needs.marker.evaluate({"extra": e, **(python or {})}) for e in {"", *extras}
            ):
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


def main() -> int:
    """Compare, or write what follows from the pins."""
    texts = (HERE.parent / "pyproject.toml").read_text(), (HERE / "constraints.txt").read_text()
    found = list(complaints(*texts))
    for name, pins in image_pins(*texts).items():
        file = IMAGE / name
        if "--write" in sys.argv[1:]:
            file.write_text(pins)
        elif not file.exists() or file.read_text() != pins:
            found.append(f"deploy/image/{name} has other pins")
    if found:
        sys.stderr.write("\n".join([*found, "scripts/pin brings the pins up to date", ""]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
