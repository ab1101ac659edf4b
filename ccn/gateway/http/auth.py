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
from ccn.gateway.limiting import Limiter, Verdict
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool
from ccn.store.conversations.conversations import Conversation

OPEN = frozenset(
    {"/", "/docs", "/health", "/metrics", "/openapi.json", "/ready", "/static/{version}/{name}"}
)
"""Asked by browsers, probes and scrapers as often as they like, and answered from memory."""

Count = Callable[[str], Awaitable[Verdict]]

_VERDICT = "ccn.verdict"

_KEY_HEADER = "x-api-key"


class _Credential(OAuth2PasswordBearer):
    """What somebody shows, in either header. One dependency, since each costs every request some time."""

    async def __call__(self, request: HTTPConnection) -> str | None:
        return await super().__call__(request) or request.headers.get(_KEY_HEADER)


_credential = _Credential(
    "token",
    scheme_name="OAuth2PasswordBearer",
    refreshUrl="token/refresh",
    description="An access token from /token, or an API key.",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the dependencies ask; `accounts` and `pool` are None for a door that lets nobody sign in."""

    limiter: Limiter
    accounts: Accounts | None = None
    pool: Pool | None = None
    owners: Owners = field(default_factory=Owners)

    def letting_in(self) -> Accounts:
        """The accounts, or Unavailable."""
        if self.accounts is None:
            raise errors.Unavailable("nobody can sign in at this node")
        return self.accounts


def install(app: FastAPI, desk: Desk) -> None:
    """Let the dependencies of this application find what they ask."""
    app.state.desk = desk


def desk(connection: HTTPConnection) -> Desk:
    """What was installed."""
    found: Desk = connection.app.state.desk
    return found


def address(connection: HTTPConnection) -> str:
    """Where the request came from, as far as the server believes it."""
    return connection.client.host if connection.client else ""


def verdict(scope: object) -> Verdict | None:
    """What the limits said about a request, for the headers of its answer."""
    return scope.get(_VERDICT) if isinstance(scope, dict) else None


def describe(document: dict[str, Any]) -> dict[str, Any]:
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


async def anybody(
    connection: HTTPConnection, credential: Annotated[str | None, Depends(_credential)] = None
) -> Caller:
    """Whoever it is. A credential that does not count is refused, and counted against its address."""
    return await _counted(connection, await _caller(connection, credential))


async def onlooker(
    connection: HTTPConnection, credential: Annotated[str | None, Depends(_credential)] = None
) -> Caller:
    """Whoever watches the cluster, again and again: this takes nothing from what they may ask besides."""
    return await _counted(connection, await _caller(connection, credential), desk(connection).limiter.look)


async def unasked(connection: HTTPConnection) -> None:
    """Whoever it is, without a look at a credential: what is asked for stands in the request itself."""
    await _counted(connection, ANYBODY)


async def user(caller: Annotated[Caller, Depends(anybody)]) -> Caller:
    """Somebody who has signed in."""
    return access.require(caller, Tier.USER)


async def admin(caller: Annotated[Caller, Depends(anybody)]) -> Caller:
    """Somebody who operates the cluster."""
    return access.require(caller, Tier.ADMIN)


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


async def operator(caller: Annotated[Caller, Depends(user)], reason: Reason = None) -> Caller:
    """Somebody who has signed in, with the reason they give."""
    return because(caller, reason)


async def own(
    connection: HTTPConnection, session_id: Session, caller: Annotated[Caller, Depends(user)]
) -> Conversation:
    """The conversation in the path, if the caller speaks in it."""
    return await access.own(_pool(connection), caller, ConversationId(session_id))


async def read(
    connection: HTTPConnection, session_id: Session, caller: Annotated[Caller, Depends(operator)]
) -> Conversation:
    """The conversation in the path, to read it."""
    return await access.look_into(_pool(connection), caller, ConversationId(session_id))


async def named(
    connection: HTTPConnection, session_id: Session, caller: Annotated[Caller, Depends(operator)]
) -> ConversationId:
    """The same without reading it, for routes that read what they tell in one statement."""
    here = desk(connection)
    return await here.owners.named(_pool(connection), caller, ConversationId(session_id))


async def end(
    connection: HTTPConnection, session_id: Session, caller: Annotated[Caller, Depends(operator)]
) -> Conversation:
    """The conversation in the path, to end it, which admins do as well."""
    return await access.operate(_pool(connection), caller, ConversationId(session_id), "end")


async def cancel(
    connection: HTTPConnection, session_id: Session, caller: Annotated[Caller, Depends(operator)]
) -> Conversation:
    """The same to end a turn in it."""
    return await access.operate(_pool(connection), caller, ConversationId(session_id), "cancel")


def because(caller: Caller, said: str | None) -> Caller:
    """The caller with a reason, which a header carries in UTF-8 or, of old, in Latin-1."""
    if not said:
        return caller
    try:
        words = said.encode("latin-1").decode()
    except UnicodeError:
        words = said
    return replace(caller, reason=access.reason(words))


def _pool(connection: HTTPConnection) -> Pool:
    pool = desk(connection).pool
    if pool is None:
        raise errors.Unavailable("this node keeps no conversations")
    return pool


async def _caller(connection: HTTPConnection, credential: str | None) -> Caller:
    if not credential:
        return ANYBODY
    try:
        return await desk(connection).letting_in().caller(credential)
    except errors.Unauthenticated:
        await _counted(connection, ANYBODY)
        raise


async def _counted(connection: HTTPConnection, caller: Caller, count: Count | None = None) -> Caller:
    said = await (count or desk(connection).limiter.request)(limiting.who(caller, address(connection)))
    connection.scope[_VERDICT] = said
    if not said.allowed:
        raise errors.TooManyRequests(
            f"more than {said.limit} requests; wait for {said.reset_s} s", said.reset_s
        )
    return caller
