"""What a person sees when the cluster is ready: where everything listens, and what to do next."""

from __future__ import annotations

import io
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

import ccn
from ccn import settings
from ccn.cli.cluster.data_folder import ClusterAt, ClusterFolder

_WIDTH = 500  # never wrapped: a terminal wraps better, and a path stays whole
_GAP = 3
_UNBOUNDED = f"all users together may spend without limit: set {settings.BUDGET}"


def summary_text(
    at: ClusterAt,
    where: ClusterFolder,
    postgres_version: str,
    took_s: float,
    *,
    colour: bool,
    unbounded: bool = False,
) -> str:
    """Write the summary without the database's password. `unbounded`: calls cost money without a limit."""
    said = io.StringIO()
    console = Console(file=said, force_terminal=colour, no_color=not colour, width=_WIDTH, highlight=False)
    rows = list(_summary_rows(at, where, postgres_version))
    label_width = max(len(label) for label, _, _ in rows) + _GAP
    console.print(
        Text.assemble("\n", (f"CCN {ccn.__version__} is ready", "bold"), f" after {took_s:.1f} s\n")
    )
    for label, value, more in rows:
        console.print(Text.assemble("  ", label.ljust(label_width), (value, "cyan"), (more, "dim")))
    if unbounded:
        console.print(Text.assemble("\n", ("Note  ", "yellow"), _UNBOUNDED))
    console.print(
        Text.assemble("\nOpen  ", (at.nodes[0].http, "bold"), " in a browser, to talk and to watch")
    )
    command = shlex.quote(program_name())
    for arguments, does in (("chat", "talk in this terminal"), ("status", "who leads, and the last round")):
        console.print(Text.assemble("Try   ", (f"{command} {arguments}", "bold"), f"   {does}"))
    console.print(Text.assemble("Look  ", ("Enter", "bold"), "   shows this again"))
    console.print(Text.assemble("Stop  ", ("Ctrl-C", "bold")))
    return said.getvalue()


def program_name() -> str:
    """Return how to call `ccn` from here: by name if the shell finds this very one, else by path."""
    own = Path(sys.executable).with_name("ccn")
    found = shutil.which("ccn")
    if not own.exists() or (found is not None and Path(found).samefile(own)):
        return "ccn"
    return str(own.relative_to(Path.cwd())) if own.is_relative_to(Path.cwd()) else str(own)


def _summary_rows(
    at: ClusterAt, where: ClusterFolder, postgres_version: str
) -> Iterator[tuple[str, str, str]]:
    for node in (*at.nodes, *at.gateways):
        yield node.id, node.http, f"{' ' * _GAP}gRPC {node.grpc}"
    database = urlsplit(at.database_url)
    hosts = database.netloc.rpartition("@")[2]
    yield f"PostgreSQL {postgres_version}", f"{hosts}{database.path}", ""
    yield "  password in", _shorten_path(where.record), ""
    if at.admin is not None:
        yield "admin", at.admin.user, f"{' ' * _GAP}API key in {_shorten_path(where.key)}"
        if at.admin.password:
            yield "  password", at.admin.password, f"{' ' * _GAP}no later start shows it"
    yield "etcd", ", ".join(at.etcd_endpoints), ""
    yield "data", _shorten_path(where.data), f"{' ' * _GAP}removed at the end" if where.temporary else ""
    yield "logs", _shorten_path(where.logs), ""


def _shorten_path(path: Path) -> str:
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)
