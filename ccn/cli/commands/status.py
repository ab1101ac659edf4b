"""`ccn status`: who is here, who leads, and how the last round went."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from ccn import errors
from ccn.cli.output import printing
from ccn.cli.reach import remote, target
from ccn.cli.reach.target import Data, Endpoint, HttpTarget, Json

_TIMEOUT_S = 5.0
_VOTES = {True: "yes", False: "no", None: "?"}


def status(endpoint: Endpoint = "", data: Data = None, as_json: Json = False) -> None:
    """Show how the cluster is."""
    told = _ask_nodes(target.find_nodes(endpoint, data))
    if as_json:
        printing.say(json.dumps(told))
    else:
        _print_status(told)


def _ask_nodes(at: HttpTarget) -> dict[str, Any]:
    """What the first node that answers says of its cluster. It needs no credential, so none is sent."""
    silent: errors.Unavailable | None = None
    for url in at.urls:
        try:
            return remote.get(replace(at, urls=(url,), api_key=""), "/status", _TIMEOUT_S)
        except errors.Unavailable as failed:
            silent = failed
    if silent is not None and len(at.urls) == 1:
        raise silent
    raise errors.Unavailable("no node answers, though `ccn up` runs: its output tells whether they start")


def _print_status(told: dict[str, Any]) -> None:
    console = Console(highlight=False)
    nodes = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("node", "", "votes", "running since", "address"):
        nodes.add_column(heading)
    for node in told["nodes"]:
        here = "[green]here[/]" if node["here"] else "[red]away[/]"
        here += ", draining" if node["draining"] else ""
        leads = " (leader)" if node["node"] == told["leader"] else ""
        votes, since = _VOTES[node["votes"]], _format_moment(node.get("since"))
        named, address = printing.escape_markup(node["node"]), printing.escape_markup(node["address"])
        nodes.add_row(named + leads, here, votes, since, address)
    console.print(nodes)
    console.print()
    facts = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    led = f" since {_format_moment(told['led_since'])}" if told.get("led_since") else ""
    facts.add_row("leader", f"{told['leader'] or '[red]nobody[/]'}, term {told['term']}{led}")
    facts.add_row("height", "not founded yet" if told["height"] is None else str(told["height"]))
    facts.add_row("last round", _describe_round(told["last_round"]))
    facts.add_row("quorum", _describe_quorum(told))
    facts.add_row("unsealed", f"{told['unsealed']} leaves wait for a block")
    facts.add_row("database", told["database_mode"])
    if told["stopped"]:
        why = printing.escape_markup(told["stopped"])
        facts.add_row("[red]stopped[/]", f"{told['node']} signs nothing any more: {why}")
    for found in told.get("evidence", ()):
        twice = {"proposal": "proposed", "vote": "voted for", "cosigned": "cosigned"}[found["kind"]]
        facts.add_row("[red]liar[/]", f"{found['node']} {twice} two blocks of height {found['height']}")
    console.print(facts)


def _describe_round(last: dict[str, Any] | None) -> str:
    if last is None:
        return "none yet"
    at = _format_moment(last["at"])
    if last["committed"]:
        return f"block {last['height']} committed at {at}"
    return f"[red]failed[/] at {at} for height {last['height']}: {printing.escape_markup(last['reason'])}"


def _format_moment(at: str | None) -> str:
    """A moment of today as its time, an earlier one with its day; like the rest of the page in UTC."""
    if at is None:
        return "-"
    then = datetime.fromisoformat(at).astimezone(UTC)
    today = then.date() == datetime.now(UTC).date()
    return f"{then:%H:%M:%S}" if today else f"{then:%Y-%m-%d %H:%M:%S}"


def _describe_quorum(told: dict[str, Any]) -> str:
    validators = [node for node in told["nodes"] if node["votes"]]
    here = sum(node["here"] for node in validators)
    if told["quorum"] is None:
        return "not known yet"
    mark = "" if here >= told["quorum"] else " [red](no quorum: rounds fail, serving goes on)[/]"
    return f"{told['quorum']} of {len(validators)}, {here} here{mark}"
