"""Commands share their options: each command has them, and none of them twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ccn import cli, errors
from ccn.cli.reach.options import ClusterOptions, DatabaseOptions, add_options

BOTH_WAYS = {"--database-url", "--data", "--endpoint", "--api-key-file", "--json"}
DATABASE = {"--database-url", "--data", "--json"}

app = typer.Typer()


@app.command()
@add_options(ClusterOptions)
def show_cluster(reach: ClusterOptions, name: str, often: int = 1) -> None:
    """Show the options of a command that a node serves."""
    typer.echo(f"{name} {often} {reach.endpoint} {reach.as_json}")


@app.command()
@add_options(DatabaseOptions)
def show_database(reach: DatabaseOptions) -> None:
    """Show the options of a command that only the database serves."""
    typer.echo(reach.database_url)


def each_command(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from each_command(inner, f"{path} {name}")


COMMANDS = dict(
    pair for command in cli.Commands.table for pair in each_command(command.load(), f"ccn {command.name}")
)


def shown_options(command: Any) -> set[str]:
    return {option for parameter in command.params if not parameter.hidden for option in parameter.opts}


def test_a_command_gets_its_own_options_and_the_shared_ones_as_one_object() -> None:
    shown = CliRunner().invoke(
        app, ["show-cluster", "ada", "--often", "2", "--endpoint", "http://a:1", "--json"]
    )
    assert (shown.exit_code, shown.output) == (0, "ada 2 http://a:1 True\n")
    shown = CliRunner().invoke(app, ["show-database", "--database-url", "postgresql://a"])
    assert (shown.exit_code, shown.output) == (0, "postgresql://a\n")


@pytest.mark.parametrize(("path", "command"), COMMANDS.items(), ids=COMMANDS)
def test_a_command_that_reaches_a_cluster_has_every_way_or_says_why_not(path: str, command: Any) -> None:
    options = shown_options(command)
    if "--database-url" in options:
        only_database = DatabaseOptions.HELP in command.help
        assert options >= (DATABASE if only_database else BOTH_WAYS), path
        assert only_database != ("--endpoint" in options), path


def test_both_kinds_of_commands_are_there() -> None:
    served = {path for path, command in COMMANDS.items() if "--endpoint" in shown_options(command)}
    assert {"ccn plate import", "ccn character release", "ccn record redact", "ccn round list"} <= served
    assert served.isdisjoint({"ccn user add", "ccn key issue", "ccn spend", "ccn record export"})


def test_an_endpoint_is_refused_where_only_the_database_can_serve_a_command() -> None:
    for options in (DatabaseOptions(endpoint="http://a:1"), ClusterOptions(endpoint="http://a:1")):
        with pytest.raises(errors.InputInvalid, match=r"no node does .* over HTTP: give --database-url"):
            options.find_owner() if isinstance(options, DatabaseOptions) else options.find_owner("--scrub")
