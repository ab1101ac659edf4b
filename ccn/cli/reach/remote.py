"""Commands against a cluster elsewhere: over the HTTP door of one of its nodes, with an API key.

Separate from `target`, which finds the cluster, and from `source`, which commands use. A problem that a
node answers with is raised here as the error it stands for.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from ccn import errors
from ccn.cli.reach.target import HttpTarget
from ccn.core import error_codes

_TIMEOUT_S = 40.0
_NODE = "check the address, which is that of a node's HTTP door"


def get(at: HttpTarget, path: str, timeout_s: float = _TIMEOUT_S) -> dict[str, Any]:
    """What a node answers."""
    asked = urllib.request.Request(_request_url(at, path), headers=_auth_headers(at))  # noqa: S310 - see _request_url
    return _send_request(asked, timeout_s)


def delete(at: HttpTarget, path: str) -> dict[str, Any]:
    """What becomes of what is taken away."""
    asked = urllib.request.Request(_request_url(at, path), headers=_auth_headers(at), method="DELETE")  # noqa: S310 - see _request_url
    return _send_request(asked)


def post(at: HttpTarget, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What comes of what a node is asked to do."""
    headers = _auth_headers(at) | {"Content-Type": "application/json"}
    data = json.dumps(body).encode()
    return _send_request(urllib.request.Request(_request_url(at, path), data, headers))  # noqa: S310 - see _request_url


def _request_url(at: HttpTarget, path: str) -> str:
    endpoint = at.urls[0]
    if not endpoint.startswith(("http://", "https://")):
        raise errors.InputInvalid(f"{endpoint!r} is no address: write it as http://host:port")
    return endpoint.rstrip("/") + path


def _auth_headers(at: HttpTarget) -> dict[str, str]:
    return {"X-API-Key": at.api_key} if at.api_key else {}


def _send_request(request: urllib.request.Request, timeout_s: float = _TIMEOUT_S) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310 - see _request_url
            found = json.load(answer)
    except urllib.error.HTTPError as refused:
        raise _error_from_problem(refused) from None
    except (ValueError, http.client.HTTPException) as strange:
        raise errors.Unavailable(f"what answers at {request.host} is no node: {_NODE}") from strange
    except OSError as failed:
        reason = getattr(failed, "reason", failed)
        why = getattr(reason, "strerror", None) or str(reason)
        raise errors.Unavailable(f"{request.host} does not answer ({why}): {_NODE}") from failed
    if not isinstance(found, dict):
        raise errors.Unavailable(f"what answers at {request.host} is no node: {_NODE}")
    return found


def _error_from_problem(refused: urllib.error.HTTPError) -> errors.CCNError:
    try:
        told = json.load(refused)
        words, kind = (
            str(told.get("detail") or told["title"]),
            error_codes.error_from_code(str(told.get("code"))),
        )
    except (OSError, ValueError, LookupError, AttributeError):
        words, kind = f"the node answered {refused.code}", None
    if refused.code in {401, 403}:
        return errors.Forbidden(f"{words}; give an admin's key with --api-key-file")
    if kind is not None:
        return kind(words)
    if refused.code == 404:
        return errors.NotFound(words)
    if refused.code == 409:
        return errors.Conflict(words)
    return errors.InputInvalid(words) if refused.code < 500 else errors.Unavailable(words)
