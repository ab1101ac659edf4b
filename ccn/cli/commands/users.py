"""`ccn user …`: who may come in. These commands write accounts directly into the cluster's database.

A password that nobody gives is made up and printed once, on standard output and nowhere else.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from ccn import errors
from ccn.cli.output import printing, timestamps
from ccn.cli.reach import ask, target
from ccn.cli.reach.target import By, Data, Json, Url
from ccn.core.ids import UserId
from ccn.gateway.accounts import credentials, passwords
from ccn.store.accounts import users
from ccn.store.accounts.users import Tier, User
from ccn.store.connection.pool import Pool

app = typer.Typer(help="Users: who may come in.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The user's name; case does not matter.", show_default=False)]
FromInput = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
]


@app.command()
def add(
    name: Name,
    *,
    tier: Annotated[str, typer.Option(help="user: own conversations, admin: operate.")] = "user",
    password_stdin: FromInput = False,
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Let somebody in."""
    password, wanted = _read_or_make_password(password_stdin), parse_tier(tier)
    kept = passwords.hash_password(password)

    async def add_user(pool: Pool) -> User:
        return await users.add_user(pool, UserId(credentials.new_id()), name, wanted, kept, by)

    made = ask.run_on_database(add_user, target.find_database(database_url, data, quiet=as_json))
    _print_user(made, "" if password_stdin else password, as_json=as_json)


@app.command("list")
def list_users(database_url: Url = "", data: Data = None, as_json: Json = False) -> None:
    """Everybody who may come in, or might."""
    for user in ask.run_on_database(
        users.list_users, target.find_database(database_url, data, quiet=as_json)
    ):
        printing.say(to_json(_user_to_fields(user)) if as_json else _format_user(user))


@app.command()
def disable(
    name: Name, by: By = "operator", database_url: Url = "", data: Data = None, as_json: Json = False
) -> None:
    """Let a user in no more: tokens and API keys stop working within CCN_ACCOUNTS_RECHECK_S."""
    at = target.find_database(database_url, data, quiet=as_json)
    _print_user(
        ask.run_on_database(lambda pool: users.disable_user(pool, name, by), at), "", as_json=as_json
    )


@app.command()
def enable(
    name: Name, by: By = "operator", database_url: Url = "", data: Data = None, as_json: Json = False
) -> None:
    """Let a user in again, with the password and API keys it had."""
    at = target.find_database(database_url, data, quiet=as_json)
    _print_user(
        ask.run_on_database(lambda pool: users.enable_user(pool, name, by), at), "", as_json=as_json
    )


@app.command()
def password(  # noqa: PLR0917 - the options of a command
    name: Name,
    password_stdin: FromInput = False,
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Give a user another password; whoever signed in with the old one is signed out."""
    new = _read_or_make_password(password_stdin)
    kept = passwords.hash_password(new)
    at = target.find_database(database_url, data, quiet=as_json)
    changed = ask.run_on_database(lambda pool: users.set_password(pool, name, kept, by), at)
    _print_user(changed, "" if password_stdin else new, as_json=as_json)


def parse_tier(text: str) -> Tier:
    """A tier by its name."""
    if text not in list(Tier):
        raise errors.InputInvalid(f"a tier is {', '.join(Tier)}, not {text!r}")
    return Tier(text)


def _read_or_make_password(from_input: bool) -> str:
    return sys.stdin.readline().rstrip("\r\n") if from_input else passwords.generate_password()


def _print_user(user: User, password: str, *, as_json: bool) -> None:
    shown = {"password": password} if password else {}
    if as_json:
        printing.say(to_json(_user_to_fields(user) | shown))
        return
    printing.say(_format_user(user))
    if password:
        printing.say(f"password  {password}")
        printing.say("It is shown this once.", err=True)


def _user_to_fields(user: User) -> dict[str, object]:
    return {
        "id": str(user.id),
        "name": user.name,
        "tier": user.tier.value,
        "created_at": user.created_at.isoformat(),
        "disabled_at": user.disabled_at.isoformat() if user.disabled_at else None,
    }


def _format_user(user: User) -> str:
    state = (
        f"disabled since {timestamps.format_moment(user.disabled_at)}" if user.disabled_at else "enabled"
    )
    return f"{printing.to_one_line(user.name):<24} {user.tier.value:<7} {state}"


def to_json(value: object) -> str:
    """JSON for programs."""
    return json.dumps(value, ensure_ascii=False)
