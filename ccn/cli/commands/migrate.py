"""`ccn migrate`: bring a database to the schema of this version, or show what an upgrade would need."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ccn.cli.output import printing, timestamps
from ccn.cli.reach.options import DatabaseOptions, add_options
from ccn.store.connection import migrate as migrations
from ccn.store.connection import roles, upgrade_plan
from ccn.store.connection.migrate import AppliedMigration, MigrationPlan
from ccn.store.connection.upgrade_plan import UpgradeStep

PENDING = 3
"""The exit code of --plan where something is to run."""


@add_options(DatabaseOptions)
def migrate(
    reach: DatabaseOptions,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Show what would run and what that needs; change nothing. Exit code 3 if anything would.",
        ),
    ] = False,
    grants: Annotated[
        bool,
        typer.Option(
            "--grants",
            help="Then create the roles ccn_node, ccn_gateway and ccn_auditor if they are missing, and "
            "grant them what nodes, gateways and auditors need; with --plan, print the SQL.",
        ),
    ] = False,
) -> None:
    """Bring the database to the schema of this version, as the role that owns it."""
    url = reach.find_owner().url
    if grants and plan:
        _print_grants(url)
        return
    if plan:
        _print_plan(url, as_json=reach.as_json)
        return
    done = asyncio.run(migrations.apply_pending(url))
    if reach.as_json:
        _print_json(done)
    else:
        _print_table(done, "ran now")
        _say_nothing_pending(done)
    if grants:
        _grant_roles(url)


def _print_plan(url: str, *, as_json: bool) -> None:
    plan, steps = asyncio.run(upgrade_plan.load_steps(url))
    if as_json:
        for ran in (*plan.applied, *plan.newer):
            printing.say_json(_ran_to_json(ran))
        for step in steps:
            printing.say_json(_step_to_json(step))
    else:
        _print_table(plan, "would run")
        _print_steps(steps)
        _say_nothing_pending(plan)
    if steps:
        raise typer.Exit(PENDING)


def _say_nothing_pending(plan: MigrationPlan) -> None:
    if plan.newer:
        printing.say(
            f"nothing to do: the schema is newer than this version by {len(plan.newer)} files, "
            "beside which it may serve",
            err=True,
        )
    elif not plan.pending:
        printing.say("nothing to do: the schema is that of this version", err=True)


def _print_grants(url: str) -> None:
    for statement in asyncio.run(roles.list_statements(url)):
        printing.say(f"{statement};")


def _grant_roles(url: str) -> None:
    asyncio.run(roles.grant_roles(url))
    printing.say(
        "ccn_node, ccn_gateway and ccn_auditor have what nodes, gateways and auditors need", err=True
    )


def _print_json(done: MigrationPlan) -> None:
    for ran in (*done.applied, *done.newer):
        printing.say_json(_ran_to_json(ran))
    for migration in done.pending:
        fields = {"number": migration.number, "name": migration.name}
        printing.say_json({**fields, "state": "ran now", "at": None})


def _ran_to_json(ran: AppliedMigration) -> dict[str, object]:
    return {"number": ran.number, "name": ran.name, "state": "ran", "at": ran.at.isoformat()}


def _step_to_json(step: UpgradeStep) -> dict[str, object]:
    locks = [
        {
            "table": held.table or None,
            "lock": held.lock.value,
            "blocks": held.lock.blocks,
            "rows": step.sizes[held.table].rows if held.table in step.sizes else None,
            "bytes": step.sizes[held.table].bytes if held.table in step.sizes else None,
        }
        for held in step.locks
    ]
    migration = step.migration
    return {
        "number": migration.number,
        "name": migration.name,
        "state": "would run",
        "at": None,
        "old_programs_serve": step.old_programs_serve,
        "oldest_program": migration.oldest_program,
        "runs": step.runs,
        "locks": locks,
    }


def _print_table(done: MigrationPlan, pending: str) -> None:
    table = _open_table("number", "name", "state")
    for applied in (*done.applied, *done.newer):
        newer = " (of a newer version)" if applied in done.newer else ""
        ran = f"ran {timestamps.format_moment(applied.at)}{newer}"
        table.add_row(f"{applied.number:04}", printing.escape_markup(applied.name), ran)
    for migration in done.pending:
        table.add_row(f"{migration.number:04}", migration.name, f"[yellow]{pending}[/]")
    Console(highlight=False).print(table)


def _print_steps(steps: Sequence[UpgradeStep]) -> None:
    """What is to run, beside which programs, and who waits for it."""
    if not steps:
        return
    table = _open_table("file", "old programs", "runs", "locks", "of")
    for step in steps:
        serve = "serve on" if step.old_programs_serve else "[yellow]stop first[/]"
        locks = [f"{held.lock.value} (blocks {held.lock.blocks})" for held in step.locks]
        sizes = [_describe_table(step, held.table) for held in step.locks]
        table.add_row(step.migration.title, serve, step.runs, "\n".join(locks), "\n".join(sizes))
    console = Console(highlight=False)
    console.print()
    console.print(table)


def _describe_table(step: UpgradeStep, table: str) -> str:
    size = step.sizes.get(table)
    about = f", about {size.rows:,} rows, {size.bytes / 1_048_576:,.1f} MiB" if size else ""
    return f"{printing.escape_markup(table) or 'what its words do not say'}{about}"


def _open_table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading)
    return table
