"""Every way a request can fail, as application/problem+json with a stable code.

One table from CCN's errors to statuses; what FastAPI and Starlette raise by themselves joins it. A
message of ours is meant for the caller; one of anybody else's is not, so a defect says only that it is one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from operator import attrgetter
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from ccn import errors
from ccn.core import error_codes
from ccn.gateway.http import schemas

_log = structlog.get_logger()

STATUS: Mapping[type[errors.CCNError], int] = {
    errors.CCNError: 500,
    errors.InputInvalid: 422,
    errors.TokenUnsupported: 400,
    errors.IdempotencyConflict: 409,
    errors.Unauthenticated: 401,
    errors.NotAllowed: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooManyRequests: 429,
    errors.TooManyConversations: 409,
    errors.AllowanceSpent: 429,
    errors.Unavailable: 503,
    errors.OutcomeUnknown: 503,
    errors.ModelRefused: 502,
    errors.PromptRefused: 422,
    errors.PeerRefused: 502,
    errors.SpawnFailed: 502,
}
"""The nearest ancestor counts; the code is the name of the class itself."""

_OTHERS = (400, 405, 408, 413, 414, 415)
"""What is answered before any code of ours sees the request."""

_NAMES: Mapping[int, str] = {413: "body_too_large", 414: "uri_too_long", 422: "input_invalid"}
"""Codes of statuses that Python's releases spell differently; the others are called as their phrases."""


def describe_responses(shape: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """What every operation may answer besides its own, each status by its number."""
    numbers = sorted({*STATUS.values(), *_OTHERS})
    return {number: {"model": shape, "description": HTTPStatus(number).phrase} for number in numbers}


RESPONSES = describe_responses(schemas.Problem)
_REVOKING = "/token/revoke"
_OAUTH: Mapping[str, Mapping[int, str]] = {
    "/token": {401: "invalid_grant", 422: "invalid_request", 503: "temporarily_unavailable"},
    _REVOKING: {400: "unsupported_token_type", 422: "invalid_request", 503: "temporarily_unavailable"},
}
"""What OAuth2 calls it (RFC 6749, section 5.2; RFC 7009): its libraries read this, and no code of ours."""

_RETRY_AFTER_S = "1"
_CHALLENGE = 'Bearer realm="ccn"'
_FAULTS = 20
_WHERE = 100


def new_router(prefix: str = "", **about: Any) -> APIRouter:
    """Routes that tell in the OpenAPI document of the problems they may answer."""
    named: Callable[[APIRoute], str] = attrgetter("name")  # generated clients call it so
    return APIRouter(prefix=prefix, generate_unique_id_function=named, **{"responses": RESPONSES, **about})


def install_handlers(app: FastAPI) -> None:
    """Make every failure of `app` a problem."""
    app.add_exception_handler(errors.CCNError, _answer_ccn_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(Exception, _answer_defect)


def describe_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Tell in the OpenAPI document that problems have a media type of their own."""
    operations = (each for methods in document["paths"].values() for each in methods.values())
    for answer in (each for operation in operations for each in operation["responses"].values()):
        content = answer.get("content", {})
        if content.get("application/json") == {"schema": {"$ref": "#/components/schemas/Problem"}}:
            content["application/problem+json"] = content.pop("application/json")
    return document


def status_of_error(error: type[errors.CCNError]) -> int:
    """The HTTP status of one of our errors."""
    return next(
        STATUS[kind] for kind in error.__mro__ if issubclass(kind, errors.CCNError) and kind in STATUS
    )


def code_of_error(error: type[errors.CCNError]) -> str:
    """`TurnRunning` is `turn_running`."""
    return error_codes.code_from_name(error.__name__)


def answer_error(error: errors.CCNError) -> Response:
    """What is answered where there is no application that would raise it."""
    number = status_of_error(type(error))
    return _make_response(
        number, code_of_error(type(error)), detail=str(error), headers=advice_headers(error, number)
    )


def answer_status(number: int, detail: str) -> Response:
    """The same for what is no error of ours."""
    return _make_response(number, _code_of_status(number), detail=detail)


async def _answer_ccn_error(request: Request, error: Exception) -> Response:
    kind = type(error)
    assert issubclass(kind, errors.CCNError)
    number = status_of_error(kind)
    if number == HTTPStatus.INTERNAL_SERVER_ERROR:
        return await _answer_defect(request, error)
    named = _OAUTH.get(request.url.path, {}).get(number, "")
    return _make_response(
        number, code_of_error(kind), detail=str(error), headers=advice_headers(error, number), error=named
    )


def advice_headers(error: Exception, number: int) -> Mapping[str, str]:
    """The headers that tell a program what to do."""
    match error:
        case errors.TooManyRequests(retry_after_s=wait_s) | errors.BudgetSpent(retry_after_s=float(wait_s)):
            return {"Retry-After": str(math.ceil(wait_s))}
        case errors.CredentialInvalid() | errors.TokenExpired():
            return {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'}
        case errors.Unauthenticated():
            return {"WWW-Authenticate": _CHALLENGE}
        case errors.Forbidden():
            return {"WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope"'}
    return {"Retry-After": _RETRY_AFTER_S} if number == HTTPStatus.SERVICE_UNAVAILABLE else {}


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = tuple(
        schemas.Fault(where=describe_place(fault["loc"]), why=describe_fault(fault["msg"]))
        for fault in error.errors()[:_FAULTS]
    )
    path = request.url.path
    return _make_response(
        400 if path == _REVOKING else 422,
        "input_invalid",
        detail="the request cannot be used as it is",
        faults=faults,
        error=_OAUTH.get(path, {}).get(422, ""),
    )


def describe_place(place: tuple[object, ...]) -> str:
    """A place in the request; a part of it may be whatever the client called a field.

    Parts with brackets name a validator of ours, and no place.
    """
    parts = [str(part) for part in place if "[" not in str(part)]
    return make_writable(".".join(parts))[:_WHERE]


def describe_fault(told: str) -> str:
    """What is wrong there."""
    return make_writable(told).removeprefix("Value error, ")


def make_writable(text: str) -> str:
    """What can be written: JSON can name a lone surrogate, UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


async def answer_http_error(request: Request, error: Exception) -> Response:
    """What Starlette says by itself: no such path, no such method, too much of something."""
    assert isinstance(error, HTTPException)
    detail = "" if error.detail == HTTPStatus(error.status_code).phrase else str(error.detail)
    name, headers = _code_of_status(error.status_code), dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = allowed_methods(request)
    return _make_response(error.status_code, name, detail=detail, headers=headers)


def allowed_methods(request: Request) -> str:
    """Every method of the path. Starlette names those of the first route alone that knows the path."""
    routes = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _code_of_status(number: int) -> str:
    """The code of a status that stands for itself."""
    phrase = HTTPStatus(number).phrase
    return _NAMES.get(number) or re.sub(r"[^a-z]+", "_", phrase.lower()).strip("_")


async def _answer_defect(request: Request, error: Exception) -> Response:
    _log.error("request failed", path=request.url.path, exc_info=error)
    return _make_response(500, "internal", detail="this is a defect of the server; its log tells more")


def _make_response(
    number: int,
    name: str,
    *,
    detail: str = "",
    faults: tuple[schemas.Fault, ...] = (),
    headers: Mapping[str, str] | None = None,
    error: str = "",
) -> Response:
    problem = schemas.Problem(
        type=f"urn:ccn:problem:{name}",
        title=HTTPStatus(number).phrase,
        status=number,
        code=name,
        detail=detail,
        faults=faults,
        error=error,
    )
    return Response(
        problem.model_dump_json(exclude_defaults=True),
        status_code=number,
        headers=dict(headers or {}),
        media_type="application/problem+json",
    )
