"""`ccn drain`: have a node hand over all it has, so that it can be stopped or removed."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from ccn.cli.output import printing
from ccn.cli.reach import source, target
from ccn.cli.reach.source import Source
from ccn.cli.reach.target import By, Data, Endpoint, Json, KeyFile, Url
from ccn.store.operators.drains import NodeLoad

_LOOK_S = 0.25


def drain(  # noqa: PLR0917 - the options of a command
    node: Annotated[str, typer.Argument(help="The name of the node, as `ccn status` shows it.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let it take part again.")] = False,
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait until it is empty.")
    ] = 120,
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Have a node lead nothing, take nothing new and hand over its instances. It goes on voting.

    Exit code 1 if something still ties it to the cluster when the time is over; it goes on draining then.
    """
    at = target.find_cluster(database_url, data, endpoint, api_key_file, quiet=as_json)
    with source.open_source(at, quiet=as_json) as cluster:
        told = cluster.ask("drain", {"undo": undo}, by, node=node)
        if not undo:
            told |= _wait_until_empty(cluster, node, wait_s, quiet=as_json)
    if as_json:
        printing.say(json.dumps(told))
    elif undo:
        printing.say(f"{node} takes part again")
    elif told["drained"]:
        printing.say(f"{node} is drained: stop it, or `ccn validators remove {node}`")
    else:
        printing.say(f"{node} is not empty after {wait_s:g} s, and goes on draining")
    if not undo and not told["drained"]:
        raise typer.Exit(1)


def _wait_until_empty(cluster: Source, node: str, wait_s: float, *, quiet: bool) -> dict[str, Any]:
    """Look until nothing ties the node to the cluster or the time is over, and say what changes."""
    until = time.monotonic() + wait_s
    shown = ""
    while True:
        load = cluster.load_of_node(node)
        sentence = _describe_load(node, load)
        if not quiet and sentence != shown:
            printing.say(sentence, err=True)
            shown = sentence
        if load.empty or not load.draining or time.monotonic() >= until:
            return _load_to_fields(load)
        time.sleep(_LOOK_S)


def _load_to_fields(left: NodeLoad) -> dict[str, Any]:
    return {
        "draining": left.draining,
        "drained": left.draining and left.empty,
        "leads": left.leads,
        "instances": left.instances,
        "unsealed": left.unsealed,
    }


def _describe_load(node: str, left: NodeLoad) -> str:
    """What still ties it to the cluster, and what that waits for."""
    if not left.draining:
        return f"{node}: somebody had it take part again"
    ties = [
        "leads, until another node takes over" if left.leads else "",
        f"hosts {left.instances} instances, until others have them" if left.instances else "",
        f"has {left.unsealed} unsealed leaves, until the next block" if left.unsealed else "",
    ]
    return f"{node}: " + ("; ".join(filter(None, ties)) or "nothing left")
