"""Commands against a cluster elsewhere: over the HTTP door of one of its nodes, with an API key.

Separate from `local`, which finds the cluster on this machine and its database. A problem that the node
answers with is raised here as the error it stands for.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from ccn import errors

_TIMEOUT_S = 40.0
_NODE = "check the address, which is that of a node's HTTP door"

Endpoint = Annotated[
    str,
    typer.Option("--endpoint", help="A node elsewhere, as https://host:port.", show_default=False),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file", help="A file with an admin's API key, for --endpoint.", show_default=False
    ),
]


def get(endpoint: str, path: str, key_file: Path | None, timeout_s: float = _TIMEOUT_S) -> dict[str, Any]:
    """What a node answers."""
    asked = urllib.request.Request(_url(endpoint, path), headers=_headers(key_file))  # noqa: S310 - see _url
    return _answered(asked, timeout_s)


def delete(endpoint: str, path: str, key_file: Path | None) -> dict[str, Any]:
    """What becomes of what is taken away."""
    url, headers = _url(endpoint, path), _headers(key_file)
    return _answered(urllib.request.Request(url, headers=headers, method="DELETE"))  # noqa: S310 - see _url


def post(endpoint: str, path: str, body: dict[str, Any], key_file: Path | None) -> dict[str, Any]:
    """What comes of what a node is asked to do."""
    headers = _headers(key_file) | {"Content-Type": "application/json"}
    data = json.dumps(body).encode()
    return _answered(urllib.request.Request(_url(endpoint, path), data, headers))  # noqa: S310 - see _url


def _url(endpoint: str, path: str) -> str:
    if not endpoint.startswith(("http://", "https://")):
        raise errors.InputInvalid(f"{endpoint!r} is no address: write it as http://host:port")
    return endpoint.rstrip("/") + path


def _headers(key_file: Path | None) -> dict[str, str]:
    if key_file is None:
        return {}
    try:
        return {"X-API-Key": key_file.expanduser().read_text().strip()}
    except OSError as unreadable:
        raise errors.InputInvalid(f"{key_file} cannot be read: {unreadable.strerror}") from unreadable


def _answered(request: urllib.request.Request, timeout_s: float = _TIMEOUT_S) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310 - see _url
            found = json.load(answer)
    except urllib.error.HTTPError as refused:
        raise _problem(refused) from None
    except (ValueError, http.client.HTTPException) as strange:
        raise errors.Unavailable(f"what answers at {request.host} is no node: {_NODE}") from strange
    except OSError as failed:
        reason = getattr(failed, "reason", failed)
        why = getattr(reason, "strerror", None) or str(reason)
        raise errors.Unavailable(f"{request.host} does not answer ({why}): {_NODE}") from failed
    if not isinstance(found, dict):
        raise errors.Unavailable(f"what answers at {request.host} is no node: {_NODE}")
    return found


def _problem(refused: urllib.error.HTTPError) -> errors.CCNError:
    try:
        told = json.load(refused)
        words = str(told.get("detail") or told["title"])
    except (OSError, ValueError, LookupError, AttributeError):
        words = f"the node answered {refused.code}"
    if refused.code in {401, 403}:
        return errors.Forbidden(f"{words}; give an admin's key with --api-key-file")
    if refused.code == 404:
        return errors.NotFound(words)
    if refused.code == 409:
        return errors.Conflict(words)
    return errors.InputInvalid(words) if refused.code < 500 else errors.Unavailable(words)
