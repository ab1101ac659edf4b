"""`ccn key …`: API keys for services, and the keys that sign access tokens. (`ccn keys` is about nodes.)"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from ccn import settings
from ccn.cli.commands import users as user_commands
from ccn.cli.output import printing, timestamps
from ccn.cli.reach.options import DatabaseOptions, add_options
from ccn.cli.reach.target import By
from ccn.core.ids import NodeId
from ccn.gateway.accounts import credentials, new_api_keys
from ccn.gateway.accounts.keyring import MARGIN
from ccn.store.accounts import api_keys, token_keys, users
from ccn.store.accounts.api_keys import ApiKey
from ccn.store.connection.pool import Pool

app = typer.Typer(help="API keys for services.", no_args_is_help=True)


@app.command()
@add_options(DatabaseOptions)
def issue(
    reach: DatabaseOptions,
    user: Annotated[str, typer.Argument(help="The user whose key it is.", show_default=False)],
    *,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "api",
    tier: Annotated[
        str,
        typer.Option(
            help="What the key may do: user or admin; at most what its user may, which is the default.",
            show_default=False,
        ),
    ] = "",
    days: Annotated[
        int | None,
        typer.Option(
            min=1, max=3_650, help="Days until the key ends; never by default.", show_default=False
        ),
    ] = None,
    by: By = "operator",
) -> None:
    """Make an API key, and print it this once."""
    wanted = user_commands.parse_tier(tier) if tier else None

    async def issue_key(pool: Pool) -> str:
        owner = await users.load_user(pool, user)
        lesser = users.lesser_tier(wanted or owner.tier, owner.tier)
        return await new_api_keys.make_key(pool, owner.id, name, lesser, days, by)

    api_key = reach.run(issue_key)
    prefix = credentials.key_prefix(api_key)
    if reach.as_json:
        printing.say_json({"api_key": api_key, "prefix": prefix})
    else:
        printing.say(api_key)
        printing.say(f"The key is shown this once; `ccn key revoke {prefix}` ends it.", err=True)


@app.command("list")
@add_options(DatabaseOptions)
def list_keys(
    reach: DatabaseOptions,
    user: Annotated[
        str | None, typer.Option(help="Only the keys of this user.", show_default=False)
    ] = None,
) -> None:
    """List all API keys by their prefixes; of a key nothing more is kept that it could be used with."""
    now = datetime.now(UTC)

    async def load_keys(pool: Pool) -> list[ApiKey]:
        if user is not None:
            await users.load_user(pool, user)  # or it is said that there is nobody of this name
        return await api_keys.list_keys(pool, user)

    keys = reach.run(load_keys)
    for key in keys:
        state = _describe_state(key, good=key.is_valid(now))
        if reach.as_json:
            printing.say_json(_key_to_fields(key) | {"state": state})
        else:
            printing.say(_format_key(key, state))
    if not keys and not reach.as_json:
        printing.say("there is no API key: `ccn key issue USER` makes one")


@app.command()
@add_options(DatabaseOptions)
def revoke(
    reach: DatabaseOptions,
    key: Annotated[str, typer.Argument(help="The prefix or the id of the key.", show_default=False)],
    by: By = "operator",
) -> None:
    """Revoke an API key. It stops working within CCN_ACCOUNTS_RECHECK_S."""
    revoked = reach.run(lambda pool: api_keys.revoke_key(pool, key, by))
    if reach.as_json:
        printing.say_json({"prefix": revoked.prefix, "user": revoked.user_name})
    else:
        printing.say(f"revoked {revoked.prefix} of {revoked.user_name}")


@app.command()
@add_options(DatabaseOptions)
def rotate(
    reach: DatabaseOptions,
    now: Annotated[
        bool,
        typer.Option(
            "--now",
            help="Accept no token of the old keys any more: clients have to renew or sign in again.",
        ),
    ] = False,
    node: Annotated[
        str,
        typer.Option(
            help="Only the keys of this node, for example one that was broken into.", show_default=False
        ),
    ] = "",
    by: By = "operator",
) -> None:
    """Have nodes sign access tokens with new keys. Tokens of the old keys are valid until they expire."""
    lasts = timedelta(minutes=settings.load().accounts.access_minutes) + MARGIN
    grace = timedelta(0) if now else lasts
    owner = NodeId(node) if node else None
    ended = reach.run(lambda pool: token_keys.end_keys(pool, grace, owner, by))
    if reach.as_json:
        printing.say_json({"ended": [{"key": key, "node": signer} for key, signer in ended]})
        return
    for key, signer in ended:
        printing.say(f"key {key} of {signer} signs no more")
    if not ended:
        printing.say("no key was in use: a node makes one when somebody signs in")


def _describe_state(key: ApiKey, *, good: bool) -> str:
    if key.revoked_at:
        return f"revoked {timestamps.format_moment(key.revoked_at)}"
    if good:
        return f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "good"
    return "its user is disabled" if key.user_disabled else "expired"


def _format_key(key: ApiKey, state: str) -> str:
    return printing.to_one_line(
        f"{key.prefix:<13} {key.user_name:<20} {key.tier.value:<7} {state:<26} {key.name}"
    )


def _key_to_fields(key: ApiKey) -> dict[str, object]:
    return {
        "id": str(key.id),
        "prefix": key.prefix,
        "user": key.user_name,
        "name": key.name,
        "tier": key.tier.value,
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }
