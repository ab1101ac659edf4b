"""The command line: one file per family of commands, each translating words into calls below.

Whatever is heavy is imported inside the command that needs it, so that `ccn --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import ccn
from ccn import errors
from ccn.cli import (
    api_keys,
    character,
    chat,
    drain,
    keys,
    migrate,
    node,
    plates,
    record,
    requests,
    rounds,
    settings,
    spend,
    status,
    up,
    users,
    validators,
)

_SELF_EXPLAINING = (
    errors.CCNError,
    errors.InputInvalid,
    errors.NotFound,
    errors.Conflict,
    errors.Forbidden,
)
"""What can be done about these is in the message; what their class says is for programs."""

app = typer.Typer(
    name="ccn",
    help="Character continuity: one character, many Claude instances, one provable record.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("chat")(chat.chat)
app.add_typer(node.app, name="node")
app.add_typer(keys.app, name="keys")
app.add_typer(users.app, name="user")
app.add_typer(api_keys.app, name="key")
app.command("status")(status.status)
app.add_typer(plates.app, name="plate")
app.add_typer(character.app, name="character")
app.add_typer(rounds.app, name="round")
app.add_typer(validators.app, name="validators")
app.add_typer(requests.app, name="request")
app.command("spend")(spend.spend)
app.command("drain")(drain.drain)
app.add_typer(record.app, name="record")
app.command("migrate")(migrate.migrate)
app.command("settings")(settings.settings)


def main() -> None:
    """Run the command the arguments name; an error of ours ends as one line, not as a traceback."""
    try:
        app(prog_name="ccn")
    except errors.CCNError as refused:
        if _debugging():
            raise
        _say(refused)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ccn {ccn.__version__}")
        raise typer.Exit


@app.callback()
def _every(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_version),
    ] = False,
) -> None:
    del version


def _debugging() -> bool:
    from ccn import settings as settings_  # noqa: PLC0415 - start-up must be quick

    return settings_.debugging()


def _say(refused: errors.CCNError) -> None:
    """What happened, and what to do about it; what a service said last follows below."""
    happened, *more = str(refused).strip().splitlines() or [type(refused).__name__]
    own = isinstance(refused, errors.EmbeddedFailed) or type(refused) in _SELF_EXPLAINING
    advice = "" if own else (type(refused).__doc__ or "").strip()
    line = f"{happened.rstrip('.')}. {advice}" if advice else happened
    typer.secho(f"error: {line}", fg=typer.colors.RED, err=True)
    for each in more:
        typer.echo(each, err=True)
