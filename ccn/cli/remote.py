"""Commands against a cluster elsewhere: over the HTTP door of one of its nodes, with an API key.

Separate from `local`, which finds the cluster on this machine and its database. A problem that the node
answers with is raised here as the error it stands for.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from ccn import errors

_TIMEOUT_S = 40.0

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


def get(endpoint: str, path: str, key_file: Path | None) -> dict[str, Any]:
    """What a node answers."""
    return _answered(urllib.request.Request(_url(endpoint, path), headers=_headers(key_file)))  # noqa: S310


def post(endpoint: str, path: str, body: dict[str, Any], key_file: Path | None) -> dict[str, Any]:
    """What comes of what a node is asked to do."""
    headers = _headers(key_file) | {"Content-Type": "application/json"}
    data = json.dumps(body).encode()
    return _answered(urllib.request.Request(_url(endpoint, path), data, headers))  # noqa: S310 - see _url


def _url(endpoint: str, path: str) -> str:
    if not endpoint.startswith(("http://", "https://")):
        raise errors.CommandInvalid(f"{endpoint} is not an http address")
    return endpoint.rstrip("/") + path


def _headers(key_file: Path | None) -> dict[str, str]:
    if key_file is None:
        return {}
    try:
        return {"X-API-Key": key_file.expanduser().read_text().strip()}
    except OSError as unreadable:
        raise errors.CommandInvalid(f"{key_file} cannot be read: {unreadable.strerror}") from unreadable


def _answered(request: urllib.request.Request) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - see _url
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as refused:
        raise _problem(refused) from None
    except (OSError, ValueError) as failed:
        raise errors.Unavailable(f"{request.host} does not answer: {failed}") from failed


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
