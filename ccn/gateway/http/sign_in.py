"""`/token`: passwords and refresh tokens for access tokens, and their end; `/api/v1/me`: who shows one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from ccn import errors
from ccn.gateway import guessing, limiting
from ccn.gateway.accounts.access import ANYBODY, Caller
from ccn.gateway.accounts.accounts import Grant
from ccn.gateway.http import auth, problems, schemas

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def routes() -> APIRouter:
    """The routes that give out tokens."""
    router = problems.router(tags=["accounts"])

    @router.post("/token", dependencies=[Depends(auth.anybody)])
    async def issue_token(
        request: Request, response: Response, shown: Annotated[schemas.SignIn, Form()]
    ) -> schemas.Tokens:
        """Sign in with a name and a password, or renew (OAuth2, RFC 6749 sections 4.3 and 6).

        An access token is good for minutes; the refresh token for one use. Showing a refresh token a second
        time ends everything that came from that sign-in.
        """
        if shown.grant_type == "refresh_token":
            return await _renewed(request, response, shown.refresh_token)
        desk = auth.desk(request)
        key = f"{limiting.who(ANYBODY, auth.address(request))}/{shown.username.strip().lower()}"
        said = await desk.limiter.sign_in(key)
        if not said.allowed:
            raise errors.TooManyRequests(
                f"too many attempts to sign in; wait for {said.reset_s} s", said.reset_s
            )
        return _tokens(response, await _signed_in(desk, shown, auth.address(request)))

    @router.post("/token/refresh", dependencies=[Depends(auth.anybody)])
    async def refresh_token(request: Request, response: Response, shown: schemas.Refresh) -> schemas.Tokens:
        """Exchange a refresh token for new tokens, as `/token` does with grant type `refresh_token`."""
        return await _renewed(request, response, shown.refresh_token)

    @router.post("/token/revoke", dependencies=[Depends(auth.unasked)])
    async def revoke_token(
        request: Request, response: Response, shown: Annotated[schemas.Revoked, Form()]
    ) -> None:
        """Sign out (RFC 7009): an access or a refresh token ends the whole sign-in that it came from.

        Holding the token is enough. One that does not count is answered like one that did. On this node the
        sign-in ends at once, on the others within CCN_ACCOUNTS_RECHECK_S.
        """
        response.headers.update(_NO_STORE)
        await auth.desk(request).letting_in().end(shown.token)

    @router.get("/api/v1/me")
    async def get_me(caller: Annotated[Caller, Depends(auth.user)]) -> schemas.Me:
        """Whom the credential stands for, and what it may do."""
        assert caller.user is not None, "everybody above PUBLIC is somebody"
        return schemas.Me(id=caller.user, name=caller.name, tier=caller.tier.value)

    return router


async def _signed_in(desk: auth.Desk, shown: schemas.SignIn, address: str) -> Grant:
    guesses, who, name = desk.limiter.guesses, limiting.who(ANYBODY, address), shown.username
    guesses.check(name, who)
    try:
        grant = await desk.letting_in().sign_in(name, shown.password, guessing.network(address))
    except errors.SignInRefused:
        await guesses.refused(name, who)
        raise
    guesses.succeeded(name, who)
    return grant


async def _renewed(request: Request, response: Response, refresh_token: str) -> schemas.Tokens:
    return _tokens(response, await auth.desk(request).letting_in().renew(refresh_token))


def _tokens(response: Response, grant: Grant) -> schemas.Tokens:
    response.headers.update(_NO_STORE)
    return schemas.Tokens(
        access_token=grant.access_token,
        expires_in=grant.expires_in_s,
        refresh_token=grant.refresh_token,
    )
