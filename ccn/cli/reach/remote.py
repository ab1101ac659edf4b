"""Requests to the HTTP API of one node, with an API key.

Separate from `target`, which finds the node, and from `http_source`, which knows the paths. A problem
that a node answers with is raised here as the error it stands for.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from ccn import errors
from ccn.certificates import trust
from ccn.cli.reach.target import HttpTarget
from ccn.core import error_codes

_TIMEOUT_S = 40.0
_CHECK = "check the address, which must be the HTTP address of a node"


def get(at: HttpTarget, path: str, timeout_s: float = _TIMEOUT_S) -> dict[str, Any]:
    """Get what a node has at this path."""
    request = urllib.request.Request(_request_url(at, path), headers=_auth_headers(at))  # noqa: S310 - see _request_url
    return _send_request(at, request, timeout_s)


def delete(at: HttpTarget, path: str) -> dict[str, Any]:
    """Delete what is at this path; return how it stands then."""
    request = urllib.request.Request(_request_url(at, path), headers=_auth_headers(at), method="DELETE")  # noqa: S310 - see _request_url
    return _send_request(at, request)


def post(at: HttpTarget, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Have a node do something; return the outcome."""
    headers = _auth_headers(at) | {"Content-Type": "application/json"}
    data = json.dumps(body).encode()
    return _send_request(at, urllib.request.Request(_request_url(at, path), data, headers))  # noqa: S310 - see _request_url


def _request_url(at: HttpTarget, path: str) -> str:
    endpoint = at.urls[0]
    if not endpoint.startswith(("http://", "https://")):
        raise errors.InputInvalid(f"{endpoint!r} is not an address: write it as http://host:port")
    try:
        urlsplit(endpoint)
    except ValueError as nonsense:
        raise errors.InputInvalid(f"{endpoint!r} is not an address: {nonsense}") from nonsense
    return endpoint.rstrip("/") + path


def _auth_headers(at: HttpTarget) -> dict[str, str]:
    if not (at.api_key.isascii() and at.api_key.isprintable()):
        raise errors.InputInvalid("the API key has characters that no request can carry")
    return {"X-API-Key": at.api_key} if at.api_key else {}


def _send_request(
    at: HttpTarget, request: urllib.request.Request, timeout_s: float = _TIMEOUT_S
) -> dict[str, Any]:
    trusted = trust.make_client_context(at.ca) if request.type == "https" else None
    try:
        with urllib.request.urlopen(request, timeout=timeout_s, context=trusted) as answer:  # noqa: S310 - see _request_url
            decoded = json.load(answer)
    except urllib.error.HTTPError as refused:
        raise _error_from_problem(refused) from None
    except http.client.RemoteDisconnected as ended:
        why = ": it may want a certificate of its clients" if trusted is not None else ""
        raise errors.Unavailable(f"{request.host} ended the connection{why}") from ended
    except (ValueError, RecursionError, http.client.HTTPException) as strange:
        raise errors.Unavailable(f"what answers at {request.host} is no node: {_CHECK}") from strange
    except OSError as failed:
        if why := trust.describe_failure(failed):
            raise errors.Unavailable(f"{request.host} is not trusted: {why}") from failed
        reason = getattr(failed, "reason", failed)
        why = getattr(reason, "strerror", None) or str(reason)
        raise errors.Unavailable(f"{request.host} does not answer ({why}): {_CHECK}") from failed
    if not isinstance(decoded, dict):
        raise errors.Unavailable(f"what answers at {request.host} is no node: {_CHECK}")
    return decoded


def _error_from_problem(refused: urllib.error.HTTPError) -> errors.CCNError:
    try:
        problem = json.load(refused)
        detail = str(problem.get("detail") or problem["title"])
        error_class = error_codes.error_from_code(str(problem.get("code")))
    except (OSError, ValueError, LookupError, AttributeError, RecursionError, http.client.HTTPException):
        detail, error_class = f"the node answered {refused.code}", None
    if refused.code in {401, 403}:
        return errors.Forbidden(f"{detail}; give an admin's key with --api-key-file or CCN_CLIENT_API_KEY")
    if error_class is not None:
        return error_class(detail)
    if refused.code == 404:
        return errors.NotFound(detail)
    if refused.code == 409:
        return errors.Conflict(detail)
    return errors.InputInvalid(detail) if refused.code < 500 else errors.Unavailable(detail)
