"""Dependencies by which a route says who may call it, and gets the caller or the conversation.

    caller: auth.User                                  has signed in
    caller: auth.Admin                                 operates the cluster
    conversation: auth.OwnConversation                 {session_id} of the path, for its owner to speak in
    conversation: auth.ConversationToRead              the same, to read it; an admin gives a reason
    conversation_id: auth.ConversationIdToRead         the same, but only its id
    conversation: auth.ConversationToEnd               the same, to end it
    conversation: auth.ConversationToCancelIn          the same, to cancel a turn in it
    pool: auth.Database                                the database; not counted, used beside the others
    deeds: auth.Requests                               the requests of operators; not counted either
    Depends(auth.admit_anybody)                        counted; the caller need not be signed in
    Depends(auth.admit_onlooker)                       the same, counted apart from requests
    Depends(auth.count_address)                        counted by address; no credential is read

Each of them counts the request once against the caller's limit. A route with none of them is open and not
counted: `OPEN` lists those, and a test walks all routes and accepts no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Header, Path
from fastapi.security import OAuth2PasswordBearer
from starlette.requests import HTTPConnection

from ccn import errors
from ccn.core.ids import ConversationId
from ccn.gateway import limiting
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import ANYBODY, Caller, ConversationAccess
from ccn.gateway.accounts.accounts import AccountDesk
from ccn.gateway.deeds.interface import RequestDeeds
from ccn.gateway.limiting import Limiter, LimitVerdict
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool
from ccn.store.conversations.conversations import StoredConversation

OPEN = frozenset(
    {"/", "/docs", "/health", "/metrics", "/openapi.json", "/ready", "/static/{version}/{name}"}
)
"""Paths that browsers, probes and scrapers may ask for as often as they like: memory answers them."""

Count = Callable[[str], Awaitable[LimitVerdict]]

_VERDICT = "ccn.verdict"

_KEY_HEADER = "x-api-key"


class _CredentialHeaders(OAuth2PasswordBearer):
    """Reads the credential from either header, in one dependency: each one costs every request time."""

    async def __call__(self, request: HTTPConnection) -> str | None:
        return await super().__call__(request) or request.headers.get(_KEY_HEADER)


_credential = _CredentialHeaders(
    "token",
    scheme_name="OAuth2PasswordBearer",
    refreshUrl="token/refresh",
    description="An access token from /token, or an API key.",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class AuthContext:
    """Everything the dependencies need; only the limiter at a door where nobody can sign in."""

    limiter: Limiter
    accounts: AccountDesk | None = None
    access: ConversationAccess | None = None
    requests: RequestDeeds | None = None

    def require_accounts(self) -> AccountDesk:
        """Return the accounts, or raise Unavailable."""
        if self.accounts is None:
            raise errors.Unavailable("nobody can sign in at this node")
        return self.accounts

    def require_access(self) -> ConversationAccess:
        """The way to conversations, or Unavailable."""
        if self.access is None:
            raise errors.Unavailable("this node has no database")
        return self.access


def install_context(app: FastAPI, context: AuthContext) -> None:
    """Give the dependencies of this application what they need."""
    app.state.auth = context


def get_context(connection: HTTPConnection) -> AuthContext:
    """Get the context that was installed."""
    context: AuthContext = connection.app.state.auth
    return context


def client_address(connection: HTTPConnection) -> str:
    """The address that the request came from, or the one that a trusted proxy names."""
    return connection.client.host if connection.client else ""


def limit_verdict(scope: object) -> LimitVerdict | None:
    """The verdict of the limits about a request, for the headers of its answer."""
    return scope.get(_VERDICT) if isinstance(scope, dict) else None


def describe_api_keys(document: dict[str, Any]) -> dict[str, Any]:
    """Add the header for API keys to the OpenAPI document."""
    schemes = document["components"]["securitySchemes"]
    if "APIKeyHeader" in schemes:
        return document
    schemes["APIKeyHeader"] = {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key.",
    }
    for operation in (each for methods in document["paths"].values() for each in methods.values()):
        if "security" in operation:
            operation["security"] += [{"APIKeyHeader": []}]
    return document


async def admit_anybody(
    connection: HTTPConnection, credential: Annotated[str | None, Depends(_credential)] = None
) -> Caller:
    """Admit anybody. A credential that is not valid is refused, and the request counted by its address."""
    return await _count_caller(connection, await _identify_caller(connection, credential))


async def admit_onlooker(
    connection: HTTPConnection, credential: Annotated[str | None, Depends(_credential)] = None
) -> Caller:
    """Admit anybody, counted apart: a page that watches the cluster takes no requests from its user."""
    return await _count_caller(
        connection,
        await _identify_caller(connection, credential),
        get_context(connection).limiter.count_look,
    )


async def count_address(connection: HTTPConnection) -> None:
    """Count the request by its address. Read no credential: the body of the request has one."""
    await _count_caller(connection, ANYBODY)


async def require_user(caller: Annotated[Caller, Depends(admit_anybody)]) -> Caller:
    """Require a caller who has signed in."""
    return access.require_tier(caller, Tier.USER)


User = Annotated[Caller, Depends(require_user)]


async def require_admin(caller: Annotated[Caller, Depends(admit_anybody)]) -> Caller:
    """Require a caller who operates the cluster."""
    return access.require_tier(caller, Tier.ADMIN)


Admin = Annotated[Caller, Depends(require_admin)]


async def require_pool(connection: HTTPConnection) -> Pool:
    """Get the database of this node.

    It is async although it waits for nothing, because FastAPI runs other dependencies in a thread. Each
    dependency costs every request some time, so the ones below call this and do not depend on it.
    """
    return get_context(connection).require_access().pool


Database = Annotated[Pool, Depends(require_pool)]


async def require_requests(connection: HTTPConnection) -> RequestDeeds:
    """Return what takes the requests of operators, or raise Unavailable."""
    requests = get_context(connection).requests
    if requests is None:
        raise errors.Unavailable("this node has no database")
    return requests


Requests = Annotated[RequestDeeds, Depends(require_requests)]
ConversationIdInPath = Annotated[UUID, Path(description="The conversation, as `start` named it.")]
Reason = Annotated[
    str | None,
    Header(
        alias="X-CCN-Reason",
        max_length=4 * access.REASON_LIMIT,
        description="Why an admin opens somebody else's conversation; sealed in the record.",
        examples=[None],
    ),
]


async def require_user_with_reason(caller: User, reason: Reason = None) -> Caller:
    """Require a caller who has signed in, with the reason they give, if any."""
    return add_reason(caller, reason)


UserWithReason = Annotated[Caller, Depends(require_user_with_reason)]


async def open_to_speak(
    connection: HTTPConnection, session_id: ConversationIdInPath, caller: User
) -> StoredConversation:
    """Open the conversation of the path to speak in it, which only its owner may."""
    opening = get_context(connection).require_access()
    return await opening.open_to_speak(caller, ConversationId(session_id))


OwnConversation = Annotated[StoredConversation, Depends(open_to_speak)]


async def open_to_read(
    connection: HTTPConnection, session_id: ConversationIdInPath, caller: UserWithReason
) -> StoredConversation:
    """Open the conversation of the path to read it."""
    opening = get_context(connection).require_access()
    return await opening.open_to_read(caller, ConversationId(session_id))


ConversationToRead = Annotated[StoredConversation, Depends(open_to_read)]


async def open_id_to_read(
    connection: HTTPConnection, session_id: ConversationIdInPath, caller: UserWithReason
) -> ConversationId:
    """Check the same without loading the conversation, for routes that load everything in one statement."""
    opening = get_context(connection).require_access()
    return await opening.open_id_to_read(caller, ConversationId(session_id))


ConversationIdToRead = Annotated[ConversationId, Depends(open_id_to_read)]


async def open_to_end(
    connection: HTTPConnection, session_id: ConversationIdInPath, caller: UserWithReason
) -> StoredConversation:
    """Open the conversation of the path to end it, which its owner and admins may."""
    opening = get_context(connection).require_access()
    return await opening.open_to_operate(caller, ConversationId(session_id), "end")


ConversationToEnd = Annotated[StoredConversation, Depends(open_to_end)]


async def open_to_cancel(
    connection: HTTPConnection, session_id: ConversationIdInPath, caller: UserWithReason
) -> StoredConversation:
    """Open the conversation of the path to cancel a turn in it, which its owner and admins may."""
    opening = get_context(connection).require_access()
    return await opening.open_to_operate(caller, ConversationId(session_id), "cancel")


ConversationToCancelIn = Annotated[StoredConversation, Depends(open_to_cancel)]


def add_reason(caller: Caller, header: str | None) -> Caller:
    """Add the reason from a header to the caller. It is in UTF-8 or, from older clients, in Latin-1."""
    if not header:
        return caller
    try:
        reason = header.encode("latin-1").decode()
    except UnicodeError:
        reason = header
    return replace(caller, reason=access.clean_reason(reason))


async def _identify_caller(connection: HTTPConnection, credential: str | None) -> Caller:
    if not credential:
        return ANYBODY
    try:
        return await get_context(connection).require_accounts().identify_caller(credential)
    except errors.Unauthenticated:
        await _count_caller(connection, ANYBODY)
        raise


async def _count_caller(connection: HTTPConnection, caller: Caller, count: Count | None = None) -> Caller:
    count = count or get_context(connection).limiter.count_request
    verdict = await count(limiting.counting_key(caller, client_address(connection)))
    connection.scope[_VERDICT] = verdict
    if not verdict.allowed:
        raise errors.TooManyRequests(
            f"more than {verdict.limit} requests; wait for {verdict.reset_s} s", verdict.reset_s
        )
    return caller
