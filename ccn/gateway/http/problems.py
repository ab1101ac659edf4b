"""Turns every failure of a request into application/problem+json with a code that never changes.

One table maps CCN's errors to statuses. Errors that FastAPI and Starlette raise join it. The text of our
own errors is meant for the caller. The text of others is not, so a defect says only that it is one.
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
"""An error has the status of its nearest ancestor here. Its code is made from the name of its own class."""

_EARLY_STATUSES = (400, 405, 408, 413, 414, 415)
"""Statuses that are answered before any code of ours sees the request."""

_CODES: Mapping[int, str] = {413: "body_too_large", 414: "uri_too_long", 422: "input_invalid"}
"""Codes of statuses whose phrases differ between releases of Python. Others are made from the phrase."""


def describe_responses(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Describe the failures that every operation may answer with, by status."""
    numbers = sorted({*STATUS.values(), *_EARLY_STATUSES})
    return {number: {"model": model, "description": HTTPStatus(number).phrase} for number in numbers}


RESPONSES = describe_responses(schemas.Problem)
_REVOKE_PATH = "/token/revoke"
_OAUTH_ERRORS: Mapping[str, Mapping[int, str]] = {
    "/token": {401: "invalid_grant", 422: "invalid_request", 503: "temporarily_unavailable"},
    _REVOKE_PATH: {400: "unsupported_token_type", 422: "invalid_request", 503: "temporarily_unavailable"},
}
"""The names of OAuth2 (RFC 6749, section 5.2; RFC 7009). Its libraries read these instead of our codes."""

_RETRY_AFTER_S = "1"
_CHALLENGE = 'Bearer realm="ccn"'
_FAULT_LIMIT = 20
_PLACE_LENGTH = 100


def new_router(prefix: str = "", **options: Any) -> APIRouter:
    """Make a router whose routes list the problems in the OpenAPI document."""
    read_name: Callable[[APIRoute], str] = attrgetter("name")  # names the methods of generated clients
    options = {"responses": RESPONSES, **options}
    return APIRouter(prefix=prefix, generate_unique_id_function=read_name, **options)


def install_handlers(app: FastAPI) -> None:
    """Answer every failure of `app` with a problem."""
    app.add_exception_handler(errors.CCNError, _answer_ccn_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(Exception, _answer_defect)


def describe_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Give problems their own media type in the OpenAPI document."""
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
    """The code of one of our errors: `TurnRunning` is `turn_running`."""
    return error_codes.code_from_name(error.__name__)


def answer_error(error: errors.CCNError) -> Response:
    """Make the response for an error where no application could raise it."""
    number = status_of_error(type(error))
    return _make_response(
        number, code_of_error(type(error)), detail=str(error), headers=advice_headers(error, number)
    )


def answer_status(number: int, detail: str) -> Response:
    """Make the response for a status that no error of ours stands for."""
    return _make_response(number, _code_of_status(number), detail=detail)


async def _answer_ccn_error(request: Request, error: Exception) -> Response:
    kind = type(error)
    assert issubclass(kind, errors.CCNError)
    number = status_of_error(kind)
    if number == HTTPStatus.INTERNAL_SERVER_ERROR:
        return await _answer_defect(request, error)
    oauth_error = _OAUTH_ERRORS.get(request.url.path, {}).get(number, "")
    return _make_response(
        number,
        code_of_error(kind),
        detail=str(error),
        headers=advice_headers(error, number),
        oauth_error=oauth_error,
    )


def advice_headers(error: Exception, number: int) -> Mapping[str, str]:
    """Make the headers that advise a program what to do after an error."""
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
        for fault in error.errors()[:_FAULT_LIMIT]
    )
    path = request.url.path
    return _make_response(
        400 if path == _REVOKE_PATH else 422,
        "input_invalid",
        detail="the request cannot be used as it is",
        faults=faults,
        oauth_error=_OAUTH_ERRORS.get(path, {}).get(422, ""),
    )


def describe_place(place: tuple[object, ...]) -> str:
    """Describe a place in the request. A part of it may be any name that a client gave a field.

    Leave out parts with brackets: they name one of our validators and no place.
    """
    parts = [str(part) for part in place if "[" not in str(part)]
    return make_writable(".".join(parts))[:_PLACE_LENGTH]


def describe_fault(text: str) -> str:
    """Describe what is wrong at a place, from the text of pydantic."""
    return make_writable(text).removeprefix("Value error, ")


def make_writable(text: str) -> str:
    """Replace lone surrogates, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


async def answer_http_error(request: Request, error: Exception) -> Response:
    """Answer an error that Starlette raised: an unknown path or method, or too large a request."""
    assert isinstance(error, HTTPException)
    detail = "" if error.detail == HTTPStatus(error.status_code).phrase else str(error.detail)
    code, headers = _code_of_status(error.status_code), dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = allowed_methods(request)
    return _make_response(error.status_code, code, detail=detail, headers=headers)


def allowed_methods(request: Request) -> str:
    """List all methods of the path. Starlette lists only those of the first route that matches it."""
    routes = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _code_of_status(number: int) -> str:
    """The code of a status without an error of ours."""
    phrase = HTTPStatus(number).phrase
    return _CODES.get(number) or re.sub(r"[^a-z]+", "_", phrase.lower()).strip("_")


async def _answer_defect(request: Request, error: Exception) -> Response:
    _log.error("request failed", path=request.url.path, exc_info=error)
    return _make_response(500, "internal", detail="this is a defect of the server; its log tells more")


def _make_response(
    number: int,
    code: str,
    *,
    detail: str = "",
    faults: tuple[schemas.Fault, ...] = (),
    headers: Mapping[str, str] | None = None,
    oauth_error: str = "",
) -> Response:
    problem = schemas.Problem(
        type=f"urn:ccn:problem:{code}",
        title=HTTPStatus(number).phrase,
        status=number,
        code=code,
        detail=detail,
        faults=faults,
        error=oauth_error,
    )
    return Response(
        problem.model_dump_json(exclude_defaults=True),
        status_code=number,
        headers=dict(headers or {}),
        media_type="application/problem+json",
    )
