"""Where the cluster is that a command is about: named, running here, or in the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ccn import errors, settings
from ccn.cli import remote
from ccn.continuity import local

_TIMEOUT_S = 5.0


def database_url(named: str, data: Path | None) -> str:
    """The database of the cluster."""
    if named:
        return named
    running = local.record(data)
    url = running["database_url"] if running else settings.load().database.url.get_secret_value()
    if not url:
        raise errors.NoCluster(f"no cluster runs {local.place(data)}")
    return str(url)


def status(endpoint: str, data: Path | None) -> dict[str, Any]:
    """What a node says about its cluster: the named one, or the first that answers here."""
    silent = ""
    for url in [endpoint] if endpoint else nodes(data):
        try:
            return remote.get(url, "/status", None, _TIMEOUT_S)
        except errors.Unavailable as failed:
            silent = str(failed)
    raise errors.Unavailable(silent if endpoint else f"no node answers; the last one tried: {silent}")


def nodes(data: Path | None) -> list[str]:
    """Where the nodes of the cluster here listen for HTTP."""
    running = local.record(data)
    if running is None:
        raise errors.NoCluster(f"no cluster runs {local.place(data)}")
    return [node["http"] for node in running["nodes"]]
