"""The command line: one file per family of commands, each translating words into calls below.

Whatever is heavy is imported inside the command that needs it, so that `ccn --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

import ccn
from ccn import errors
from ccn.cli.commands import (
    api_keys,
    character,
    chat,
    migrate,
    plates,
    record,
    settings,
    spend,
    status,
    up,
    users,
)
from ccn.cli.commands.cluster import drain, node, node_keys, requests, rounds, validators
from ccn.cli.output import printing

_SELF_EXPLAINING = (
    errors.CCNError,
    errors.InputInvalid,
    errors.NotFound,
    errors.Conflict,
    errors.Forbidden,
    errors.ReasonRequired,
    errors.NotYours,
)
"""What can be done about these is in the message; what their class says is for programs."""

app = typer.Typer(
    name="ccn",
    help="Character continuity: one character, many Claude instances, one provable record.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("chat")(chat.chat)
app.add_typer(node.app, name="node")
app.add_typer(node_keys.app, name="keys")
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
    for_programs = "--json" in sys.argv[1:]
    try:
        sys.exit(app(prog_name="ccn", standalone_mode=not for_programs))
    except errors.CCNError as refused:
        if _is_debugging():
            raise
        _print_error_as_json(refused) if for_programs else _print_error(refused)
        sys.exit(1)
    except TyperException as misused:  # only where no page of help is wanted
        _print_json("usage", misused.format_message(), "See `ccn --help`.")
        sys.exit(misused.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)


def _print_version(wanted: bool) -> None:
    if wanted:
        printing.say(f"ccn {ccn.__version__}")
        raise typer.Exit


@app.callback()
def _take_global_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and leave.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    del version


def _is_debugging() -> bool:
    from ccn import settings as settings_  # noqa: PLC0415 - start-up must be quick

    return settings_.is_debugging()


def _print_error_as_json(refused: errors.CCNError) -> None:
    """The same for programs: a code that never changes, what happened, and what to do about it."""
    from ccn.core import error_codes  # noqa: PLC0415 - start-up must be quick

    _print_json(
        error_codes.code_from_name(type(refused).__name__), str(refused).strip(), _advice_for(refused)
    )


def _print_json(code: str, message: str, advice: str) -> None:
    import json  # noqa: PLC0415 - start-up must be quick

    told = {"code": code, "message": message, "advice": advice}
    printing.say(json.dumps({"error": told}, ensure_ascii=False), err=True)


def _advice_for(refused: errors.CCNError) -> str:
    own = isinstance(refused, errors.EmbeddedFailed) or type(refused) in _SELF_EXPLAINING
    return "" if own else (type(refused).__doc__ or "").strip()


def _print_error(refused: errors.CCNError) -> None:
    """What happened, and what to do about it; what a service said last follows below."""
    happened, *more = str(refused).strip().splitlines() or [type(refused).__name__]
    advice = _advice_for(refused)
    line = f"{happened.rstrip('.')}. {advice}" if advice else happened
    typer.secho(f"error: {printing.to_one_line(line)}", fg=typer.colors.RED, err=True)
    for each in more:
        printing.say(each, err=True)
