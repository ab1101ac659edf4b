"""Brings the wheels of the image into a folder, for its Python and this machine's processor.

    python -m scripts.image_wheels FOLDER

Separate from the Dockerfile, which then needs no network: this machine's own pip knows where packages come
from and whom to trust, and no build has to be told. Every wheel has one of the hashes in deploy/image.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

from scripts import pins

_OLDEST_GLIBC, _NEWEST_GLIBC = 5, 41  # of Debian trixie


def main() -> int:
    """Download what is missing."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("building.txt", "runtime.txt"):
        blocks = pins.pin_blocks((pins.IMAGE / name).read_text())
        wanted = [without_marker(block) for block in blocks if is_wanted(block)]
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
            listed.write("\n".join(wanted))
            listed.flush()
            command = download_command(listed.name, folder)
            # What is all there needs no index, and asking one for each package takes a minute.
            offline = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
            if not subprocess.run(command, env=offline, capture_output=True, check=False).returncode:
                continue
            if code := subprocess.run(command, check=False).returncode:
                return code
    return 0


def is_wanted(block: str) -> bool:
    """Whether the image's Python needs it. Markers ask the Python that runs pip, which is another one."""
    marker = Requirement(block.splitlines()[0].rstrip(" \\")).marker
    return marker is None or marker.evaluate(dict(pins.IMAGE_PYTHON))


def without_marker(block: str) -> str:
    """The same for any Python."""
    first, *hashes = block.splitlines()
    return "\n".join([first.split(" ;")[0].rstrip(" \\") + " \\", *hashes])


def download_command(listed: str, folder: Path) -> list[str]:
    """What pip is asked."""
    machine = platform.machine()
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(_NEWEST_GLIBC, _OLDEST_GLIBC - 1, -1)]
    platforms += [f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", listed]
    command += ["--dest", str(folder), "--implementation", "cp"]
    command += ["--python-version", pins.IMAGE_PYTHON["python_version"]]
    return [*command, *(f"--platform={name}" for name in platforms)]


if __name__ == "__main__":
    sys.exit(main())
