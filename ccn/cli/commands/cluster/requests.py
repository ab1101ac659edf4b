"""`ccn request`: list what operators asked for, with what became of it, and take a request back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import typer

from ccn.cli.output import printing, timestamps
from ccn.cli.reach.options import ClusterOptions, add_options
from ccn.cli.reach.target import By

app = typer.Typer(help="Requests: what operators asked the cluster for.", no_args_is_help=True)

_SHOWN = ("action", "node", "character", "conversation", "instance", "name", "key", "reason")


@app.command("list")
@add_options(ClusterOptions)
def list_requests(
    reach: ClusterOptions,
    with_answered: Annotated[bool, typer.Option("--all", help="Also list answered requests.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many requests to list.")] = 20,
) -> None:
    """List the requests that wait for an answer, the newest first."""
    with reach.open_source() as cluster:
        requests = cluster.list_requests(limit, ended=with_answered)
    none = "there are no requests" if with_answered else "no request waits for an answer"
    printing.say_entries(requests, _format_request, as_json=reach.as_json, if_none=none)


@app.command()
@add_options(ClusterOptions)
def cancel(
    reach: ClusterOptions,
    request: Annotated[
        UUID, typer.Argument(help="The id of the request, from `ccn request list`.", show_default=False)
    ],
    reason: Annotated[str, typer.Option(help="Why; the record keeps it.")] = "",
    by: By = "operator",
) -> None:
    """Take back a request that no node has begun. The record says so. Exit code 1 if it is too late."""
    with reach.open_source() as cluster:
        state = cluster.take_back(request, by, reason)
    printing.say(printing.to_json(state) if reach.as_json else _describe_cancellation(state))
    if state["state"] == "answered":
        raise typer.Exit(1)


def _describe_cancellation(request: Mapping[str, Any]) -> str:
    if request["state"] == "taken back":
        sealed = "" if request["answered_at"] else "; the record will say so once a node seals it"
        return f"{request['command']}: taken back{sealed}"
    outcome = printing.to_json(request["outcome"])
    return f"{request['command']}: too late, it was answered meanwhile: {outcome}"


def _format_request(request: Mapping[str, Any]) -> str:
    body = request["body"]
    words = [request["command"], *(body[key] for key in _SHOWN if isinstance(body.get(key), str))]
    words += [f"of {request['node']}"] if request["node"] else []
    words += [f"({key})" for key in ("undo", "lost") if body.get(key) is True]
    head = f"{timestamps.format_iso_moment(request['asked_at'])}  {request['request']}"
    return printing.to_one_line(
        f"{head}  {_describe_state(request):<20} {' '.join(words)}, asked by {request['by']}"
    )


def _describe_state(request: Mapping[str, Any]) -> str:
    if request["state"] == "waiting" and request["at_it"]:
        return f"{request['at_it']} is at it"
    return str(request["error"] or request["state"])
