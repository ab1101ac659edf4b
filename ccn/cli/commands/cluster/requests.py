"""`ccn request`: what operators asked for, who is at it, what came of it; and taking it back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import typer

from ccn.cli.output import printing, timestamps
from ccn.cli.reach import source, target
from ccn.cli.reach.target import By, Data, Endpoint, Json, KeyFile, Url

app = typer.Typer(help="What operators asked the cluster for.", no_args_is_help=True)

_SHOWN = ("action", "node", "character", "conversation", "instance", "name", "key", "reason")


@app.command("list")
def list_requests(  # noqa: PLR0917 - the options of a command
    every: Annotated[bool, typer.Option("--all", help="Also what has its answer.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    database_url: Url = "",
    data: Data = None,
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """What waits for an answer, the newest first."""
    at = target.find_cluster(database_url, data, endpoint, api_key_file, quiet=as_json)
    with source.open_source(at, quiet=as_json) as cluster:
        found = cluster.list_requests(limit, ended=every)
    for each in found:
        printing.say(json.dumps(each, ensure_ascii=False) if as_json else _format_request(each))
    if not found and not as_json:
        printing.say("nobody asked for anything" if every else "nothing waits for an answer")


@app.command()
def cancel(  # noqa: PLR0917 - the options of a command
    request: Annotated[UUID, typer.Argument(help="Its id, from `ccn request list`.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the record.")] = "",
    by: By = "operator",
    database_url: Url = "",
    data: Data = None,
    endpoint: Endpoint = "",
    api_key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Take a request back that nobody has begun; the record says so. Exit code 1 if it is too late."""
    at = target.find_cluster(database_url, data, endpoint, api_key_file, quiet=as_json)
    with source.open_source(at, quiet=as_json) as cluster:
        found = cluster.take_back(request, by, reason)
    printing.say(json.dumps(found, ensure_ascii=False) if as_json else _describe_cancellation(found))
    if found["state"] == "answered":
        raise typer.Exit(1)


def _describe_cancellation(found: Mapping[str, Any]) -> str:
    match found["state"]:
        case "taken back":
            sealed = "" if found["answered_at"] else "; the record will say so once a node seals it"
            return f"{found['command']}: taken back{sealed}"
        case _:
            return (
                f"{found['command']}: too late, it was answered meanwhile: {json.dumps(found['outcome'])}"
            )


def _format_request(each: Mapping[str, Any]) -> str:
    body = each["body"]
    words = [each["command"], *(body[key] for key in _SHOWN if isinstance(body.get(key), str))]
    words += [f"of {each['node']}"] if each["node"] else []
    words += [f"({key})" for key in ("undo", "lost") if body.get(key) is True]
    asked = f"{timestamps.format_iso_moment(each['asked_at'])}  {each['request']}"
    return printing.to_one_line(
        f"{asked}  {_describe_state(each):<20} {' '.join(words)}, asked by {each['by']}"
    )


def _describe_state(each: Mapping[str, Any]) -> str:
    if each["state"] == "waiting" and each["at_it"]:
        return f"{each['at_it']} is at it"
    return str(each["error"] or each["state"])
