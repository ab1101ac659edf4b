"""`ccn validators`: who votes, and how a node begins or ceases to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ccn.cli.output import printing
from ccn.cli.reach import source, target
from ccn.cli.reach.target import By, Data, Endpoint, Json, KeyFile, Url

app = typer.Typer(help="The nodes that vote; one comes or goes at a time.", no_args_is_help=True)

_PATIENCE_S = 60.0

Node = Annotated[str, typer.Argument(help="The name of the node, as `ccn status` shows it.")]


@app.command("list")
def list_validators(
    database_url: Url = "",
    data: Data = None,
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Every node that ever ran here, and whether it votes."""
    at = target.find_cluster(database_url, data, endpoint, api_key_file, quiet=as_json)
    with source.open_source(at, quiet=as_json) as cluster:
        nodes = cluster.list_validators()
    if as_json:
        for node in nodes:
            printing.say(json.dumps(node))
        return
    printing.say(f"{'node':<16} {'votes':<6} {'last vote':>9} {'unsealed':>8}  key")
    for node in nodes:
        votes = "yes" if node["votes"] else "no"
        drained = "  draining" if node["draining"] else ""
        last = node["last_vote"] or "-"
        key = (node["key"] or "-")[:16]
        printing.say(f"{node['node']:<16} {votes:<6} {last:>9} {node['unsealed']:>8}  {key}{drained}")


@app.command("add")
def add_validator(  # noqa: PLR0917 - the options of a command
    node: Node,
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Let a node vote that is running and registered; a quorum of the present validators must agree."""
    at = target.find_cluster(database_url, data, endpoint, api_key_file, quiet=as_json)
    body = {"action": "add", "node": node}
    with source.open_source(at, quiet=as_json) as cluster:
        outcome = cluster.ask("validators", body, by, patience_s=_PATIENCE_S)
    _print_outcome(outcome, f"{node} votes", f"{node} votes already", as_json=as_json)


@app.command("remove")
def remove_validator(  # noqa: PLR0917 - the options of a command
    node: Node,
    lost: Annotated[
        bool, typer.Option("--lost", help="It never comes back: what it left unsealed stays unproved.")
    ] = False,
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Take a node out of the cluster: one that is drained, or down with nothing left to seal.

    Its votes, its certificate and its door count for nothing any more, until it is added again.
    """
    at = target.find_cluster(database_url, data, endpoint, api_key_file, quiet=as_json)
    body = {"action": "remove", "node": node, "lost": lost}
    with source.open_source(at, quiet=as_json) as cluster:
        outcome = cluster.ask("validators", body, by, patience_s=_PATIENCE_S)
    _print_outcome(outcome, f"{node} is out", f"{node} does not vote, and is out", as_json=as_json)


def _print_outcome(outcome: Mapping[str, Any], changed: str, unchanged: str, *, as_json: bool) -> None:
    if as_json:
        printing.say(json.dumps(outcome))
        return
    names = ", ".join(outcome["validators"])
    since = f"{changed} from block {outcome['height'] + 1} on" if outcome["changed"] else unchanged
    printing.say(f"{since}: {outcome['quorum']} of {len(outcome['validators'])} must agree ({names})")
