"""`ccn user …`: the accounts of people, written directly into the cluster's database.

A password that nobody gives is generated and printed once, on standard output and nowhere else.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ccn import errors
from ccn.cli.output import printing, timestamps
from ccn.cli.reach.options import DatabaseOptions, add_options
from ccn.cli.reach.target import By
from ccn.core.ids import UserId
from ccn.gateway.accounts import credentials, passwords
from ccn.store.accounts import users
from ccn.store.accounts.users import Tier, User

app = typer.Typer(help="Users: the people who may sign in.", no_args_is_help=True)

UserName = Annotated[
    str, typer.Argument(help="The name of the user; case does not matter.", show_default=False)
]
FromInput = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
]


@app.command()
@add_options(DatabaseOptions)
def add(
    reach: DatabaseOptions,
    name: UserName,
    tier: Annotated[
        str, typer.Option(help="What the user may do: user has own conversations, admin also operates.")
    ] = "user",
    password_stdin: FromInput = False,
    by: By = "operator",
) -> None:
    """Add a user. Without --password-stdin a password is generated and printed."""
    wanted, password = parse_tier(tier), _read_or_make_password(password_stdin)
    hashed = passwords.hash_password(password)
    user = reach.run(
        lambda pool: users.add_user(pool, UserId(credentials.new_id()), name, wanted, hashed, by)
    )
    _print_user(user, "" if password_stdin else password, as_json=reach.as_json)


@app.command("list")
@add_options(DatabaseOptions)
def list_users(reach: DatabaseOptions) -> None:
    """List all users, also disabled ones."""
    for user in reach.run(users.list_users):
        printing.say(printing.to_json(_user_to_fields(user)) if reach.as_json else _format_user(user))


@app.command()
@add_options(DatabaseOptions)
def disable(reach: DatabaseOptions, name: UserName, by: By = "operator") -> None:
    """Disable a user. Tokens and API keys stop working within CCN_ACCOUNTS_RECHECK_S."""
    user = reach.run(lambda pool: users.disable_user(pool, name, by))
    _print_user(user, "", as_json=reach.as_json)


@app.command()
@add_options(DatabaseOptions)
def enable(reach: DatabaseOptions, name: UserName, by: By = "operator") -> None:
    """Enable a user again, with the same password and API keys."""
    user = reach.run(lambda pool: users.enable_user(pool, name, by))
    _print_user(user, "", as_json=reach.as_json)


@app.command()
@add_options(DatabaseOptions)
def password(
    reach: DatabaseOptions, name: UserName, password_stdin: FromInput = False, by: By = "operator"
) -> None:
    """Change the password of a user, and sign the user out everywhere."""
    chosen = _read_or_make_password(password_stdin)
    hashed = passwords.hash_password(chosen)
    user = reach.run(lambda pool: users.set_password(pool, name, hashed, by))
    _print_user(user, "" if password_stdin else chosen, as_json=reach.as_json)


def parse_tier(text: str) -> Tier:
    """Read a tier from its name."""
    if text not in list(Tier):
        raise errors.InputInvalid(f"a tier is {', '.join(Tier)}, not {text!r}")
    return Tier(text)


def _read_or_make_password(from_input: bool) -> str:
    return sys.stdin.readline().rstrip("\r\n") if from_input else passwords.generate_password()


def _print_user(user: User, password: str, *, as_json: bool) -> None:
    if as_json:
        printing.say_json(_user_to_fields(user) | ({"password": password} if password else {}))
        return
    printing.say(_format_user(user))
    if password:
        printing.say(f"password  {password}")
        printing.say("The password is shown this once.", err=True)


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
