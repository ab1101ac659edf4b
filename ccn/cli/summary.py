"""What a person sees when the cluster is ready: where everything listens, and what to do next."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table
from rich.text import Text

import ccn
from ccn.cli.place import ClusterAt, Place

_WIDTH = 200  # never wrapped: a terminal does that better, and a URL stays whole


def text(at: ClusterAt, where: Place, postgres_version: str, took_s: float, colour: bool) -> str:
    """A few lines, without the database's password."""
    console = Console(
        file=io.StringIO(), force_terminal=colour, no_color=not colour, width=_WIDTH, highlight=False
    )
    console.print()
    console.print(
        Text.assemble(("CCN ", "bold"), (ccn.__version__, "bold"), f" is ready after {took_s:.1f} s")
    )
    console.print()
    console.print(_table(at, where, postgres_version))
    console.print()
    console.print(Text.assemble("Try   ", (f"curl {at.nodes[0].http}/ready", "bold")))
    console.print(Text.assemble("Stop  ", ("Ctrl-C", "bold")))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def _table(at: ClusterAt, where: Place, postgres_version: str) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    for node in at.nodes:
        table.add_row(f"  {node.id}", Text(node.http, "cyan"), Text(f"gRPC {node.grpc}", "dim"))
    database = urlsplit(at.database_url)
    table.add_row(
        f"  PostgreSQL {postgres_version}",
        Text(f"{database.hostname}:{database.port}{database.path}", "cyan"),
        Text(f"URL with its password in {_short(where.record)}", "dim"),
    )
    table.add_row("  etcd", Text(", ".join(at.etcd_endpoints), "cyan"))
    table.add_row("  data", Text(_short(where.data), "cyan"))
    table.add_row("  logs", Text(_short(where.logs), "cyan"))
    return table


def _short(path: Path) -> str:
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)
