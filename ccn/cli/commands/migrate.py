"""`ccn migrate`: bring a database to the schema of this version, or show what that would run."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ccn.cli.output import printing, timestamps
from ccn.cli.reach import target
from ccn.cli.reach.target import Data, Json, Url
from ccn.store.connection import migrate as migrations
from ccn.store.connection import roles
from ccn.store.connection.migrate import MigrationPlan


def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Show what would run; change nothing.")] = False,
    grants: Annotated[
        bool,
        typer.Option(
            "--grants",
            help="Then make the roles ccn_node and ccn_auditor where they are missing, and give them what "
            "nodes and auditors need; with --plan, print the SQL.",
        ),
    ] = False,
    database_url: Url = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Bring the database to the schema of this version, as the role that owns it."""
    url = target.find_owner(database_url, data, quiet=as_json).url
    if grants and plan:
        _print_grants(url)
        return
    done = asyncio.run(migrations.load_plan(url) if plan else migrations.apply_pending(url))
    state = "would run" if plan else "ran now"
    if as_json:
        _print_json(done, state)
    else:
        _print_table(done, state)
        if not done.pending:
            printing.say("nothing to do: the schema is that of this version", err=True)
    if grants:
        _grant_roles(url)


def _print_grants(url: str) -> None:
    for statement in asyncio.run(roles.list_statements(url)):
        printing.say(f"{statement};")


def _grant_roles(url: str) -> None:
    asyncio.run(roles.grant_roles(url))
    printing.say("ccn_node and ccn_auditor have what nodes and auditors need", err=True)


def _print_json(done: MigrationPlan, pending: str) -> None:
    for ran in done.applied:
        told = {"number": ran.number, "name": ran.name, "state": "ran", "at": ran.at.isoformat()}
        printing.say(json.dumps(told))
    for each in done.pending:
        printing.say(json.dumps({"number": each.number, "name": each.name, "state": pending, "at": None}))


def _print_table(done: MigrationPlan, pending: str) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("number", "name", "state"):
        table.add_column(heading)
    for applied in done.applied:
        table.add_row(f"{applied.number:04}", applied.name, f"ran {timestamps.format_moment(applied.at)}")
    for migration in done.pending:
        table.add_row(f"{migration.number:04}", migration.name, f"[yellow]{pending}[/]")
    Console(highlight=False).print(table)
