"""Errors under /v1, in the shape that SDKs for the Messages API know, from the same table as problems."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from ccn import errors
from ccn.gateway.http import problems

log = structlog.get_logger(__name__)

CONVERSATION = "x-ccn-conversation"

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_PREFIX = "/v1/"
_LONGEST = 100
_DEFECT = "this is a defect of the server; its log tells more"


class AnthropicRoute(APIRoute):
    """A route whose errors have that shape, those of its dependencies included."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the usual handler."""
        handle = super().get_route_handler()

        async def handle_guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except (errors.CCNError, RequestValidationError, HTTPException) as refused:
                response = answer_error(refused)
            except Exception:  # the root of a request: its client knows no problems, only these errors
                log.exception("request failed", path=request.url.path)
                response = _make_response(500, _DEFECT)
            if CONVERSATION in request.headers and "idempotency-key" not in request.headers:
                response.headers["x-should-retry"] = "false"  # else SDKs say the message a second time
            return response

        return handle_guarded


def install_handlers(app: FastAPI) -> None:
    """Answer in that shape also where no route matches."""

    async def answer_unmatched(request: Request, refused: Exception) -> Response:
        assert isinstance(refused, HTTPException)
        if not request.url.path.startswith(_PREFIX):
            return await problems.answer_http_error(request, refused)
        if refused.status_code not in {404, 405}:
            return answer_error(refused)
        text = f"{request.method} {request.url.path[:_LONGEST]} is nothing that characters answer"
        headers = {"Allow": problems.allowed_methods(request)} if refused.status_code == 405 else {}
        return _make_response(refused.status_code, problems.make_writable(text), headers)

    app.add_exception_handler(HTTPException, answer_unmatched)


def answer_error(refused: Exception) -> Response:
    """The response for an error."""
    match refused:
        case RequestValidationError():
            first = refused.errors()[0]
            return _make_response(
                400, f"{problems.describe_place(first['loc'])}: {problems.describe_fault(first['msg'])}"
            )
        case HTTPException(status_code=number, detail=detail, headers=headers):
            return _make_response(number, str(detail), dict(headers or {}))
    number, text = status_and_text(refused)
    return _make_response(number, text, dict(problems.advice_headers(refused, number)))


def status_and_text(refused: Exception) -> tuple[int, str]:
    """The status and the text of an error, as the Messages API has them."""
    kind = type(refused)
    if not issubclass(kind, errors.CCNError):
        return 500, _DEFECT
    number = problems.status_of_error(kind)
    if number == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request failed", exc_info=refused)
        return 500, _DEFECT
    return (400 if number == HTTPStatus.UNPROCESSABLE_ENTITY else number), str(refused)


def make_body(number: int, text: str, request_id: str | None = None) -> dict[str, object]:
    """Make the body of an error, which is also the data of an `error` event."""
    kind = _TYPES.get(number, "api_error" if number >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": text}, "request_id": request_id}


def _make_response(number: int, text: str, headers: dict[str, str] | None = None) -> Response:
    request_id = new_request_id()
    body = make_body(number, text, request_id)
    return JSONResponse(body, number, {**(headers or {}), "request-id": request_id})


def new_request_id() -> str:
    """Make an id for a request, which SDKs show beside an error."""
    return f"req_{secrets.token_hex(12)}"
