"""The command line: one module for each group of commands, which turns words into calls of the code below.

`Commands` lists all commands. A module is imported when one of its commands runs or shows its help, so that
`ccn --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

import ccn
from ccn import errors
from ccn.certificates import tls_floor
from ccn.cli.lazy import LazyCommand, LazyGroup
from ccn.cli.output import printing
from ccn.core import error_codes

tls_floor.demand_tls_1_3()  # before a command imports gRPC, and so for every node

_SELF_EXPLAINING = (
    errors.CCNError,
    errors.InputInvalid,
    errors.NotFound,
    errors.Conflict,
    errors.Forbidden,
    errors.ReasonRequired,
    errors.NotYours,
)
"""The messages of these errors say what to do about them; what their classes say is for programs."""


class Commands(LazyGroup):
    """All commands, each with the sentence that lists show of it."""

    table = (
        LazyCommand(
            "up",
            "ccn.cli.commands.up",
            "up",
            "Start PostgreSQL, etcd and nodes on this machine, and keep them running until Ctrl-C.",
        ),
        LazyCommand(
            "chat",
            "ccn.cli.commands.chat",
            "chat",
            "Talk with a character, on the terminal or through a pipe.",
        ),
        LazyCommand(
            "status",
            "ccn.cli.commands.status",
            "status",
            "Show the nodes, the leader and the last round of the cluster.",
        ),
        LazyCommand("node", "ccn.cli.commands.cluster.node", "app", "One node of a cluster."),
        LazyCommand("keys", "ccn.cli.commands.cluster.node_keys", "app", "Keys and certificates of nodes."),
        LazyCommand("user", "ccn.cli.commands.users", "app", "Users: the people who may sign in."),
        LazyCommand("key", "ccn.cli.commands.api_keys", "app", "API keys for services."),
        LazyCommand(
            "plate", "ccn.cli.commands.plates", "app", "Plates: the files that say who a character is."
        ),
        LazyCommand(
            "character",
            "ccn.cli.commands.character",
            "app",
            "The sixteen axes, the scores of a text on them, and drift.",
        ),
        LazyCommand("round", "ccn.cli.commands.cluster.rounds", "app", "Rounds of the consensus."),
        LazyCommand(
            "validators",
            "ccn.cli.commands.cluster.validators",
            "app",
            "The nodes that vote; one comes or goes at a time.",
        ),
        LazyCommand(
            "request",
            "ccn.cli.commands.cluster.requests",
            "app",
            "Requests: what operators asked the cluster for.",
        ),
        LazyCommand(
            "spend",
            "ccn.cli.commands.spend",
            "show_spend",
            "Show tokens and cost: of the last 30 days, of one day, or of one conversation.",
        ),
        LazyCommand(
            "drain",
            "ccn.cli.commands.cluster.drain",
            "drain",
            "Have a node lead nothing, take nothing new and hand over its instances. It goes on voting.",
        ),
        LazyCommand(
            "record",
            "ccn.cli.commands.record",
            "app",
            "Hand the record to somebody who trusts neither CCN nor its database.",
        ),
        LazyCommand(
            "doctor",
            "ccn.cli.commands.doctor",
            "doctor",
            "Look at what the node with these settings will need, and say what to mend.",
        ),
        LazyCommand(
            "migrate",
            "ccn.cli.commands.migrate",
            "migrate",
            "Bring the database to the schema of this version, as the role that owns it.",
        ),
        LazyCommand(
            "settings",
            "ccn.cli.commands.settings",
            "settings",
            "Print the settings in effect, with the origin and the meaning of each.",
        ),
        LazyCommand(
            "help",
            "ccn.cli.commands.help",
            "show_help",
            "Show a page of the documentation, or list the topics.",
        ),
    )


app = typer.Typer(
    name="ccn",
    cls=Commands,
    help="Character continuity: one character, many Claude instances, one provable record.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command that the arguments name; an error of CCN ends as one line, not as a traceback."""
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
            "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    del version


def _is_debugging() -> bool:
    from ccn import settings as settings_  # noqa: PLC0415 - start-up must be quick

    return settings_.is_debugging()


def _print_error_as_json(refused: errors.CCNError) -> None:
    """Print an error for programs: a code that never changes, what happened, and what to do about it."""
    _print_json(
        error_codes.code_from_name(type(refused).__name__), str(refused).strip(), _advice_for(refused)
    )


def _print_json(code: str, message: str, advice: str) -> None:
    printing.say_json({"error": {"code": code, "message": message, "advice": advice}}, err=True)


def _advice_for(refused: errors.CCNError) -> str:
    explains_itself = isinstance(refused, errors.EmbeddedFailed) or type(refused) in _SELF_EXPLAINING
    return "" if explains_itself else (type(refused).__doc__ or "").strip()


def _print_error(refused: errors.CCNError) -> None:
    """Print what happened and what to do about it; the last lines of a service follow below."""
    happened, *more = str(refused).strip().splitlines() or [type(refused).__name__]
    advice = _advice_for(refused)
    line = f"{happened.rstrip('.')}. {advice}" if advice else happened
    typer.secho(f"error: {printing.to_one_line(line)}", fg=typer.colors.RED, err=True)
    for line_of_service in more:
        printing.say(line_of_service, err=True)
