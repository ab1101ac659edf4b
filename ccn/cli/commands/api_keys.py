"""`ccn key …`: API keys for services, and the keys that sign access tokens. (`ccn keys` is about nodes.)"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from ccn import settings
from ccn.cli.commands import users as user_commands
from ccn.cli.output import printing, timestamps
from ccn.cli.reach import ask, target
from ccn.cli.reach.target import By, Data, Json, Url
from ccn.core.ids import NodeId
from ccn.gateway.accounts import credentials, new_api_keys
from ccn.gateway.accounts.keyring import MARGIN
from ccn.store.accounts import api_keys, token_keys, users
from ccn.store.accounts.api_keys import ApiKey
from ccn.store.connection.pool import Pool

app = typer.Typer(help="API keys, for services.", no_args_is_help=True)


@app.command()
def issue(
    user: Annotated[str, typer.Argument(help="Whose key it is.", show_default=False)],
    *,
    name: Annotated[str, typer.Option(help="What it is for.")] = "api",
    tier: Annotated[
        str, typer.Option(help="What it may do; at most what its user may, which is the default.")
    ] = "",
    days: Annotated[int | None, typer.Option(min=1, max=3_650, help="Days until it ends.")] = None,
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a key, and print it this once."""

    async def issue_key(pool: Pool) -> str:
        owner = await users.load_user(pool, user)
        may = user_commands.parse_tier(tier) if tier else owner.tier
        lesser = users.lesser_tier(may, owner.tier)
        return await new_api_keys.make_key(pool, owner.id, name, lesser, days, by)

    made = ask.run_on_database(issue_key, target.find_database(database_url, data, quiet=as_json))
    if as_json:
        printing.say(user_commands.to_json({"api_key": made, "prefix": credentials.key_prefix(made)}))
    else:
        printing.say(made)
        printing.say(f"It is shown this once; revoke it as {credentials.key_prefix(made)}.", err=True)


@app.command("list")
def list_keys(
    user: Annotated[str | None, typer.Option(help="Only this user's.", show_default=False)] = None,
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """All keys, by the prefix that is left of them."""
    now = datetime.now(UTC)
    at = target.find_database(database_url, data, quiet=as_json)
    for key in ask.run_on_database(lambda pool: api_keys.list_keys(pool, user), at):
        state = _describe_state(key, good=key.is_valid(now))
        printing.say(
            user_commands.to_json(_key_to_fields(key) | {"state": state})
            if as_json
            else printing.to_one_line(
                f"{key.prefix:<13} {key.user_name:<20} {key.tier.value:<7} {state:<26} {key.name}"
            )
        )


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its prefix or id.", show_default=False)],
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """End a key; it stops working within CCN_ACCOUNTS_RECHECK_S."""
    at = target.find_database(database_url, data, quiet=as_json)
    ended = ask.run_on_database(lambda pool: api_keys.revoke_key(pool, key, by), at)
    told = {"prefix": ended.prefix, "user": ended.user_name}
    printing.say(user_commands.to_json(told) if as_json else f"revoked {ended.prefix} of {ended.user_name}")


@app.command()
def rotate(  # noqa: PLR0917 - options
    now: Annotated[
        bool,
        typer.Option("--now", help="Accept nothing the old keys signed: everybody renews or signs in."),
    ] = False,
    node: Annotated[
        str, typer.Option(help="Only the keys of this node, for example one that was broken into.")
    ] = "",
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let nodes sign access tokens with new keys; what the old ones signed counts until it has expired."""
    lasts = timedelta(minutes=settings.load().accounts.access_minutes) + MARGIN
    grace = timedelta(0) if now else lasts
    whose = NodeId(node) if node else None
    at = target.find_database(database_url, data, quiet=as_json)
    ended = ask.run_on_database(lambda pool: token_keys.end_keys(pool, grace, whose, by), at)
    if as_json:
        told = [{"key": name, "node": owner} for name, owner in ended]
        printing.say(user_commands.to_json({"ended": told}))
        return
    for name, owner in ended:
        printing.say(f"key {name} of {owner} signs no more")
    if not ended:
        printing.say("no key was signing; nodes make theirs when somebody signs in")


def _describe_state(key: ApiKey, *, good: bool) -> str:
    if key.revoked_at:
        return f"revoked {timestamps.format_moment(key.revoked_at)}"
    if good:
        return f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "good"
    return "its user is disabled" if key.user_disabled else "expired"


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
