"""The cluster that `ccn up` runs on this machine, from the file it keeps while it runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from ccn import errors


@dataclass(frozen=True, slots=True)
class Found:
    """Where its nodes listen for gRPC, and a key they take."""

    targets: tuple[str, ...]
    api_key: str = field(repr=False)


def find(data: Path | None = None) -> Found:
    """The cluster in a folder, or in the one that `ccn up` takes by itself."""
    folder = (data or platformdirs.user_data_path("ccn", appauthor=False)).expanduser()
    try:
        told = json.loads((folder / "cluster.json").read_text())
        return Found(tuple(node["grpc"] for node in told["nodes"]), told["admin"]["api_key"])
    except FileNotFoundError:
        raise errors.ClusterMissing("no cluster runs here, and no target was named") from None
    except (OSError, ValueError, LookupError, TypeError) as unreadable:
        raise errors.ClusterMissing(
            f"{folder / 'cluster.json'} cannot be read: {unreadable}"
        ) from unreadable
