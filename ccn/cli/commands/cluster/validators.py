"""`ccn validators`: list the nodes that vote, and let a node begin or cease to vote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ccn.cli.output import printing
from ccn.cli.reach.options import ClusterOptions, add_options
from ccn.cli.reach.target import By

app = typer.Typer(help="The nodes that vote; one comes or goes at a time.", no_args_is_help=True)

_PATIENCE_S = 60.0

NodeName = Annotated[
    str, typer.Argument(help="The name of the node, as `ccn status` shows it.", show_default=False)
]


@app.command("list")
@add_options(ClusterOptions)
def list_validators(reach: ClusterOptions) -> None:
    """List every node that has ever run here, and whether it votes."""
    with reach.open_source() as cluster:
        nodes = cluster.list_validators()
    if reach.as_json:
        for node in nodes:
            printing.say_json(node)
        return
    printing.say(f"{'node':<16} {'votes':<6} {'last vote':>9} {'unsealed':>8}  key")
    for node in nodes:
        printing.say(_format_node(node))


@app.command("add")
@add_options(ClusterOptions)
def add_validator(reach: ClusterOptions, node: NodeName, by: By = "operator") -> None:
    """Let a node vote that is running and registered. A quorum of the present validators must agree."""
    with reach.open_source() as cluster:
        outcome = cluster.ask("validators", {"action": "add", "node": node}, by, patience_s=_PATIENCE_S)
    _print_outcome(outcome, f"{node} votes", f"{node} votes already", as_json=reach.as_json)


@app.command("remove")
@add_options(ClusterOptions)
def remove_validator(
    reach: ClusterOptions,
    node: NodeName,
    lost: Annotated[
        bool,
        typer.Option("--lost", help="The node never comes back: what it left unsealed stays unproved."),
    ] = False,
    by: By = "operator",
) -> None:
    """Take a node out of the cluster that is drained, or that is down with nothing left to seal.

    Its votes, its certificate and its address count for nothing any more, until it is added again.
    """
    body = {"action": "remove", "node": node, "lost": lost}
    with reach.open_source() as cluster:
        outcome = cluster.ask("validators", body, by, patience_s=_PATIENCE_S)
    _print_outcome(outcome, f"{node} is out", f"{node} does not vote, and is out", as_json=reach.as_json)


def _format_node(node: Mapping[str, Any]) -> str:
    votes = "yes" if node["votes"] else "no"
    drained = "  draining" if node["draining"] else ""
    last = node["last_vote"] or "-"
    key = (node["key"] or "-")[:16]
    return f"{node['node']:<16} {votes:<6} {last:>9} {node['unsealed']:>8}  {key}{drained}"


def _print_outcome(outcome: Mapping[str, Any], changed: str, unchanged: str, *, as_json: bool) -> None:
    if as_json:
        printing.say_json(outcome)
        return
    names = ", ".join(outcome["validators"])
    since = f"{changed} from block {outcome['height'] + 1} on" if outcome["changed"] else unchanged
    printing.say(f"{since}: {outcome['quorum']} of {len(outcome['validators'])} must agree ({names})")
