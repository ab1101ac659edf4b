"""Who calls, for routes to depend on.

    Depends(auth.unasked)                                          counted by address, whatever it shows
    caller: Annotated[Caller, Depends(auth.anybody)]               counted, perhaps not signed in
    caller: Annotated[Caller, Depends(auth.user)]                  has signed in
    caller: Annotated[Caller, Depends(auth.admin)]                 operates the cluster
    conversation: Annotated[Conversation, Depends(auth.own)]       {session_id} of the path, to speak in
    conversation: Annotated[Conversation, Depends(auth.read)]      the same to read; an admin says why
    conversation: Annotated[Conversation, Depends(auth.end)]       the same to end it; `cancel`: a turn
    here: Annotated[ConversationId, Depends(auth.named)]           its id alone, to read
    caller: Annotated[Caller, Depends(auth.onlooker)]              as anybody; counted apart from requests

Each of them counts the request once against the caller's limit. A route of none of these is open and not
counted; `OPEN` names those that may be, and a test walks the routes and accepts no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Header, Path
from fastapi.security import OAuth2PasswordBearer
from starlette.requests import HTTPConnection

from ccn import errors
from ccn.core.ids import ConversationId
from ccn.gateway import limiting
from ccn.gateway.accounts import access
from ccn.gateway.accounts.access import ANYBODY, Caller, Owners
from ccn.gateway.accounts.accounts import Accounts
from ccn.gateway.limiting import Limiter, LimitVerdict
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool
from ccn.store.conversations.conversations import StoredConversation

OPEN = frozenset(
    {"/", "/docs", "/health", "/metrics", "/openapi.json", "/ready", "/static/{version}/{name}"}
)
"""Asked by browsers, probes and scrapers as often as they like, and answered from memory."""

Count = Callable[[str], Awaitable[LimitVerdict]]

_VERDICT = "ccn.verdict"

_KEY_HEADER = "x-api-key"


class _CredentialHeaders(OAuth2PasswordBearer):
    """What somebody shows, in either header. One dependency, since each costs every request some time."""

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
    """What the dependencies ask; `accounts` and `pool` are None for a door that lets nobody sign in."""

    limiter: Limiter
    accounts: Accounts | None = None
    pool: Pool | None = None
    owners: Owners = field(default_factory=Owners)

    def require_accounts(self) -> Accounts:
        """The accounts, or Unavailable."""
        if self.accounts is None:
            raise errors.Unavailable("nobody can sign in at this node")
        return self.accounts


def install_context(app: FastAPI, desk: AuthContext) -> None:
    """Let the dependencies of this application find what they ask."""
    app.state.desk = desk


def get_context(connection: HTTPConnection) -> AuthContext:
    """What was installed."""
    found: AuthContext = connection.app.state.desk
    return found


def client_address(connection: HTTPConnection) -> str:
    """Where the request came from, as far as the server believes it."""
    return connection.client.host if connection.client else ""


def limit_verdict(scope: object) -> LimitVerdict | None:
    """What the limits said about a request, for the headers of its answer."""
    return scope.get(_VERDICT) if isinstance(scope, dict) else None


def describe_api_keys(document: dict[str, Any]) -> dict[str, Any]:
    """Tell in the OpenAPI document of the other header, in which an API key may be shown as well."""
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
    """Whoever it is. A credential that does not count is refused, and counted against its address."""
    return await _count_caller(connection, await _identify_caller(connection, credential))


async def admit_onlooker(
    connection: HTTPConnection, credential: Annotated[str | None, Depends(_credential)] = None
) -> Caller:
    """Whoever watches the cluster, again and again: this takes nothing from what they may ask besides."""
    return await _count_caller(
        connection,
        await _identify_caller(connection, credential),
        get_context(connection).limiter.count_look,
    )


async def count_address(connection: HTTPConnection) -> None:
    """Whoever it is, without a look at a credential: what is asked for stands in the request itself."""
    await _count_caller(connection, ANYBODY)


async def require_user(caller: Annotated[Caller, Depends(admit_anybody)]) -> Caller:
    """Somebody who has signed in."""
    return access.require_tier(caller, Tier.USER)


async def require_admin(caller: Annotated[Caller, Depends(admit_anybody)]) -> Caller:
    """Somebody who operates the cluster."""
    return access.require_tier(caller, Tier.ADMIN)


Session = Annotated[UUID, Path(description="The conversation, as `start` named it.")]
Reason = Annotated[
    str | None,
    Header(
        alias="X-CCN-Reason",
        max_length=4 * access.REASON_LIMIT,
        description="Why an admin opens somebody else's conversation; sealed in the record.",
        examples=[None],
    ),
]


async def require_user_with_reason(
    caller: Annotated[Caller, Depends(require_user)], reason: Reason = None
) -> Caller:
    """Somebody who has signed in, with the reason they give."""
    return add_reason(caller, reason)


async def open_to_speak(
    connection: HTTPConnection, session_id: Session, caller: Annotated[Caller, Depends(require_user)]
) -> StoredConversation:
    """The conversation in the path, if the caller speaks in it."""
    return await access.open_to_speak(_require_pool(connection), caller, ConversationId(session_id))


async def open_to_read(
    connection: HTTPConnection,
    session_id: Session,
    caller: Annotated[Caller, Depends(require_user_with_reason)],
) -> StoredConversation:
    """The conversation in the path, to read it."""
    return await access.open_to_read(_require_pool(connection), caller, ConversationId(session_id))


async def open_id_to_read(
    connection: HTTPConnection,
    session_id: Session,
    caller: Annotated[Caller, Depends(require_user_with_reason)],
) -> ConversationId:
    """The same without reading it, for routes that read what they tell in one statement."""
    here = get_context(connection)
    return await here.owners.open_id_to_read(_require_pool(connection), caller, ConversationId(session_id))


async def open_to_end(
    connection: HTTPConnection,
    session_id: Session,
    caller: Annotated[Caller, Depends(require_user_with_reason)],
) -> StoredConversation:
    """The conversation in the path, to end it, which admins do as well."""
    return await access.open_to_operate(
        _require_pool(connection), caller, ConversationId(session_id), "end"
    )


async def open_to_cancel(
    connection: HTTPConnection,
    session_id: Session,
    caller: Annotated[Caller, Depends(require_user_with_reason)],
) -> StoredConversation:
    """The same to end a turn in it."""
    return await access.open_to_operate(
        _require_pool(connection), caller, ConversationId(session_id), "cancel"
    )


def add_reason(caller: Caller, said: str | None) -> Caller:
    """The caller with a reason, which a header carries in UTF-8 or, of old, in Latin-1."""
    if not said:
        return caller
    try:
        words = said.encode("latin-1").decode()
    except UnicodeError:
        words = said
    return replace(caller, reason=access.clean_reason(words))


def _require_pool(connection: HTTPConnection) -> Pool:
    pool = get_context(connection).pool
    if pool is None:
        raise errors.Unavailable("this node keeps no conversations")
    return pool


async def _identify_caller(connection: HTTPConnection, credential: str | None) -> Caller:
    if not credential:
        return ANYBODY
    try:
        return await get_context(connection).require_accounts().identify_caller(credential)
    except errors.Unauthenticated:
        await _count_caller(connection, ANYBODY)
        raise


async def _count_caller(connection: HTTPConnection, caller: Caller, count: Count | None = None) -> Caller:
    said = await (count or get_context(connection).limiter.count_request)(
        limiting.counting_key(caller, client_address(connection))
    )
    connection.scope[_VERDICT] = said
    if not said.allowed:
        raise errors.TooManyRequests(
            f"more than {said.limit} requests; wait for {said.reset_s} s", said.reset_s
        )
    return caller
