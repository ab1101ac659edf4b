"""Where the cluster is that a command is about: named, running here, or in the settings."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ccn import errors, settings

_TIMEOUT_S = 5.0


def database_url(named: str, data: Path | None) -> str:
    """The database of the cluster."""
    if named:
        return named
    running = here(data)
    url = running["database_url"] if running else settings.load().database.url.get_secret_value()
    if not url:
        raise errors.ClusterMissing("no cluster runs here, and --database-url names none")
    return str(url)


def status(endpoint: str, data: Path | None) -> dict[str, Any]:
    """What a node says about its cluster: the named one, or the first that answers here."""
    running = None if endpoint else here(data)
    if not endpoint and running is None:
        raise errors.ClusterMissing("no cluster runs here, and --endpoint names none")
    reason = ""
    for url in [endpoint] if running is None else [node["http"] for node in running["nodes"]]:
        try:
            return _asked(f"{url.rstrip('/')}/status")
        except (OSError, ValueError) as failed:
            reason = f"{url}: {failed}"
    raise errors.Unavailable(f"no node answers; the last one tried: {reason}")


def here(data: Path | None) -> dict[str, Any] | None:
    """What cluster.json says, if the `ccn up` that wrote it is still there."""
    import platformdirs  # noqa: PLC0415 - start-up must be quick

    folder = (data or platformdirs.user_data_path("ccn", appauthor=False)).expanduser()
    try:
        found: dict[str, Any] = json.loads((folder / "cluster.json").read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as unreadable:
        raise errors.ClusterMissing(
            f"{folder / 'cluster.json'} cannot be read: {unreadable}"
        ) from unreadable
    return found


def _asked(url: str) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise errors.CommandInvalid(f"{url} is not an http address")
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - checked above
        found: dict[str, Any] = json.load(answer)
    return found
