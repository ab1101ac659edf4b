"""The routes `/token`, which give out tokens and end them, and `/api/v1/me`, which shows their user."""

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
    """Make the routes of accounts."""
    router = problems.new_router(tags=["accounts"])

    @router.post("/token", dependencies=[Depends(auth.admit_anybody)])
    async def issue_token(
        request: Request, response: Response, form: Annotated[schemas.SignInRequest, Form()]
    ) -> schemas.TokensAnswer:
        """Sign in with a name and a password, or renew (OAuth2, RFC 6749 sections 4.3 and 6).

        An access token is good for minutes, a refresh token for one use. A refresh token that is used a
        second time ends its whole sign-in: one of the two uses was a thief's.
        """
        if form.grant_type == "refresh_token":
            return await _renew_tokens(request, response, form.refresh_token)
        context = auth.get_context(request)
        address_key = limiting.counting_key(ANYBODY, auth.client_address(request))
        verdict = await context.limiter.count_sign_in(f"{address_key}/{form.username.strip().lower()}")
        if not verdict.allowed:
            raise errors.TooManyRequests(
                f"too many attempts to sign in; wait for {verdict.reset_s} s", verdict.reset_s
            )
        return _answer_tokens(response, await _sign_in(context, form, auth.client_address(request)))

    @router.post("/token/refresh", dependencies=[Depends(auth.admit_anybody)])
    async def refresh_token(
        request: Request, response: Response, body: schemas.RefreshRequest
    ) -> schemas.TokensAnswer:
        """Exchange a refresh token for new tokens, like `/token` with grant type `refresh_token`."""
        return await _renew_tokens(request, response, body.refresh_token)

    @router.post("/token/revoke", dependencies=[Depends(auth.count_address)])
    async def revoke_token(
        request: Request, response: Response, form: Annotated[schemas.RevokeRequest, Form()]
    ) -> None:
        """Sign out (RFC 7009): an access or a refresh token ends the whole sign-in that it is from.

        The token is the only credential needed. A token that is not valid gets the same answer. The
        sign-in ends at once on this node, and within CCN_ACCOUNTS_RECHECK_S on the others.
        """
        response.headers.update(_NO_STORE)
        await auth.get_context(request).require_accounts().end_sign_in(form.token)

    @router.get("/api/v1/me")
    async def get_me(caller: Annotated[Caller, Depends(auth.require_user)]) -> schemas.MeAnswer:
        """Show the user that the credential stands for, and what it may do."""
        assert caller.user is not None, "a caller above PUBLIC has a user"
        return schemas.MeAnswer(id=caller.user, name=caller.name, tier=caller.tier.value)

    return router


async def _sign_in(context: auth.AuthContext, form: schemas.SignInRequest, address: str) -> Grant:
    guesses, name = context.limiter.guesses, form.username
    address_key, network = limiting.counting_key(ANYBODY, address), guessing.mask_address(address)
    guesses.check_sign_in(name, address_key)
    try:
        grant = await context.require_accounts().sign_in(name, form.password, network)
    except errors.SignInRefused:
        await guesses.count_refusal(name, address_key)
        raise
    guesses.remember_success(name, address_key)
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
