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


def make_router() -> APIRouter:
    """The routes that give out tokens."""
    router = problems.new_router(tags=["accounts"])

    @router.post("/token", dependencies=[Depends(auth.admit_anybody)])
    async def issue_token(
        request: Request, response: Response, shown: Annotated[schemas.SignInRequest, Form()]
    ) -> schemas.TokensAnswer:
        """Sign in with a name and a password, or renew (OAuth2, RFC 6749 sections 4.3 and 6).

        An access token is good for minutes, a refresh token for one use. A refresh token that is used a
        second time ends its whole sign-in: one of the two uses was a thief's.
        """
        if shown.grant_type == "refresh_token":
            return await _renew_tokens(request, response, shown.refresh_token)
        desk = auth.get_context(request)
        address = limiting.counting_key(ANYBODY, auth.client_address(request))
        key = f"{address}/{shown.username.strip().lower()}"
        said = await desk.limiter.count_sign_in(key)
        if not said.allowed:
            raise errors.TooManyRequests(
                f"too many attempts to sign in; wait for {said.reset_s} s", said.reset_s
            )
        return _answer_tokens(response, await _sign_in(desk, shown, auth.client_address(request)))

    @router.post("/token/refresh", dependencies=[Depends(auth.admit_anybody)])
    async def refresh_token(
        request: Request, response: Response, shown: schemas.RefreshRequest
    ) -> schemas.TokensAnswer:
        """Exchange a refresh token for new tokens, like `/token` with grant type `refresh_token`."""
        return await _renew_tokens(request, response, shown.refresh_token)

    @router.post("/token/revoke", dependencies=[Depends(auth.count_address)])
    async def revoke_token(
        request: Request, response: Response, shown: Annotated[schemas.RevokeRequest, Form()]
    ) -> None:
        """Sign out (RFC 7009): an access or a refresh token ends the whole sign-in that it is from.

        The token is the only credential needed. A token that does not count gets the same answer. The
        sign-in ends at once on this node, and within CCN_ACCOUNTS_RECHECK_S on the others.
        """
        response.headers.update(_NO_STORE)
        await auth.get_context(request).require_accounts().end_sign_in(shown.token)

    @router.get("/api/v1/me")
    async def get_me(caller: Annotated[Caller, Depends(auth.require_user)]) -> schemas.MeAnswer:
        """Show the user that the credential stands for, and what it may do."""
        assert caller.user is not None, "everybody above PUBLIC is somebody"
        return schemas.MeAnswer(id=caller.user, name=caller.name, tier=caller.tier.value)

    return router


async def _sign_in(desk: auth.AuthContext, shown: schemas.SignInRequest, address: str) -> Grant:
    guesses, who, name = desk.limiter.guesses, limiting.counting_key(ANYBODY, address), shown.username
    guesses.check_sign_in(name, who)
    try:
        grant = await desk.require_accounts().sign_in(name, shown.password, guessing.mask_address(address))
    except errors.SignInRefused:
        await guesses.count_refusal(name, who)
        raise
    guesses.remember_success(name, who)
    return grant


async def _renew_tokens(request: Request, response: Response, refresh_token: str) -> schemas.TokensAnswer:
    return _answer_tokens(
        response, await auth.get_context(request).require_accounts().renew_grant(refresh_token)
    )


def _answer_tokens(response: Response, grant: Grant) -> schemas.TokensAnswer:
    response.headers.update(_NO_STORE)
    return schemas.TokensAnswer(
        access_token=grant.access_token,
        expires_in=grant.expires_in_s,
        refresh_token=grant.refresh_token,
    )
