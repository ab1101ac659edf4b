"""`ccn settings`: shows each setting with its value, its origin and its meaning."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated

import typer

from ccn import settings as source
from ccn.cli.output import printing
from ccn.settings import SettingsReading


def settings(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on one line.")] = False,
) -> None:
    """Print the settings in effect, with the origin and the meaning of each.

    Secrets are masked.
    """
    reading = source.load_with_origins()
    if as_json:
        _print_json(reading)
    else:
        _print_page(reading)
    for name in reading.ignored:
        typer.secho(f"warning: {name} is not a setting and has no effect", fg=typer.colors.YELLOW, err=True)


def _print_json(reading: SettingsReading) -> None:
    printing.say_json(
        {
            f"{group}.{field}": {
                "value": reading.display_field(group, field),
                "origin": reading.field_origin(group, field),
                "variable": source.variable_name(group, field),
                "meaning": source.field_sentence(group, field),
            }
            for group, field in source.list_fields()
        }
    )


def _print_page(reading: SettingsReading) -> None:
    width = max(len(source.variable_name(*field)) for field in source.list_fields())
    for group, fields in groupby(source.list_fields(), key=lambda field: field[0]):
        typer.echo(f"{typer.style(f'[{group}]', bold=True)} {source.group_sentence(group)}")
        for _, field in fields:
            origin = reading.field_origin(group, field)
            changed = origin != "default"
            variable = typer.style(f"{source.variable_name(group, field):{width}}", fg=typer.colors.CYAN)
            value = typer.style(
                printing.to_one_line(reading.display_field(group, field) or "-"), bold=changed
            )
            where = "environment" if origin == source.variable_name(group, field) else origin
            typer.echo(f"  {variable}  {value}  {typer.style(f'({where})', dim=not changed)}")
            typer.echo(typer.style(f"      {source.field_sentence(group, field)}", dim=True))
        typer.echo()
