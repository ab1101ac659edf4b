"""`ccn status`: shows which nodes are here, which one leads, and how the last round went."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from ccn import errors
from ccn.cli.cluster import database
from ccn.cli.cluster.database import PairRoles
from ccn.cli.output import printing
from ccn.cli.reach import remote, target
from ccn.cli.reach.target import Authority, Data, Endpoint, HttpTarget, Json

_TIMEOUT_S = 5.0
_VOTES = {True: "yes", False: "no", None: "?"}


def status(endpoint: Endpoint = "", data: Data = None, ca: Authority = None, as_json: Json = False) -> None:
    """Show the nodes, the leader and the last round of the cluster.

    This command needs no API key.
    """
    at = target.find_nodes(endpoint, data, ca=ca)
    answer, roles = _ask_nodes(at), database.find_roles(data, at.urls)
    if as_json:
        printing.say_json(answer | {"databases": asdict(roles)} if roles else answer)
    else:
        _print_status(answer, roles)


def _ask_nodes(at: HttpTarget) -> dict[str, Any]:
    """Return the status that the first node tells that answers. It needs no API key, so none is sent."""
    silent: errors.Unavailable | None = None
    for url in at.urls:
        try:
            return remote.get(replace(at, urls=(url,), api_key=""), "/status", _TIMEOUT_S)
        except errors.Unavailable as failed:
            silent = failed
    if silent is not None and len(at.urls) == 1:
        raise silent
    raise errors.Unavailable("no node answers, though `ccn up` runs: its output says whether they start")


def _print_status(status: dict[str, Any], roles: PairRoles | None) -> None:
    console = Console(highlight=False)
    nodes = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("node", "", "votes", "since", "version", "speaks", "address"):
        nodes.add_column(heading, overflow="fold")
    for node in status["nodes"]:
        presence = "[green]here[/]" if node["here"] else "[red]away[/]"
        presence += ", draining" if node["draining"] else ""
        presence += ", [red]takes no part[/]" if node.get("outside") else ""
        leads = " (leader)" if node["node"] == status["leader"] else ""
        votes, since = _VOTES[node["votes"]], _format_moment(node.get("since"))
        name, address = printing.escape_markup(node["node"]), printing.escape_markup(node["address"])
        version = printing.escape_markup(node.get("version") or "-")
        nodes.add_row(name + leads, presence, votes, since, version, _describe_protocols(node), address)
    console.print(nodes)
    for gateway in status.get("gateways", ()):
        name, address = (printing.escape_markup(gateway[each]) for each in ("gateway", "address"))
        console.print(f"{name}  [green]here[/], doors only  {address}")
    console.print()
    facts = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    led_since = f" since {_format_moment(status['led_since'])}" if status.get("led_since") else ""
    facts.add_row("leader", f"{status['leader'] or '[red]nobody[/]'}, term {status['term']}{led_since}")
    facts.add_row("height", "not founded yet" if status["height"] is None else str(status["height"]))
    facts.add_row("last round", _describe_round(status["last_round"]))
    facts.add_row("quorum", _describe_quorum(status))
    if status.get("protocol") is not None:
        facts.add_row("protocol", f"{status['protocol']}{_describe_raise(status)}")
    facts.add_row("unsealed", f"{status['unsealed']} leaves wait for a block")
    facts.add_row("database", status["database_mode"])
    if roles is not None:
        facts.add_row("", str(roles) if roles.in_step else f"[red]{roles}[/]")
    for replica in status.get("replicas", ()):
        facts.add_row(f"replica {replica['replica']}", _describe_replica(replica))
    if status["stopped"]:
        why = printing.escape_markup(status["stopped"])
        facts.add_row("[red]stopped[/]", f"{status['node']} signs nothing any more: {why}")
    for evidence in status.get("evidence", ()):
        verb = {"proposal": "proposed", "vote": "voted for", "cosigned": "cosigned"}[evidence["kind"]]
        facts.add_row(
            "[red]liar[/]", f"{evidence['node']} {verb} two blocks of height {evidence['height']}"
        )
    console.print(facts)


def _describe_protocols(node: dict[str, Any]) -> str:
    spoken = node.get("protocol")
    if spoken is None:
        return "-"
    return "-".join(str(each) for each in sorted(set(spoken)))


def _describe_raise(told: dict[str, Any]) -> str:
    """Whether all voters speak a higher one by now."""
    spoken = [node.get("protocol") for node in told["nodes"] if node["votes"]]
    if not spoken or None in spoken:
        return ""
    highest = min(each[1] for each in spoken)
    return f", all voters speak {highest}" if highest > told["protocol"] else ""


def _describe_replica(replica: dict[str, Any]) -> str:
    late = "" if replica["lag_s"] is None else f", {replica['lag_s']:.1f} s late"
    if replica["unfit"]:
        return f"[red]not read from[/]: {printing.escape_markup(replica['unfit'])}{late}"
    return f"read from{late}"


def _describe_round(last: dict[str, Any] | None) -> str:
    if last is None:
        return "none yet"
    at = _format_moment(last["at"])
    if last["committed"]:
        return f"block {last['height']} committed at {at}"
    return f"[red]failed[/] at {at} for height {last['height']}: {printing.escape_markup(last['reason'])}"


def _format_moment(at: str | None) -> str:
    """Write a moment of today as its time and an earlier one with its day, in UTC."""
    if at is None:
        return "-"
    then = datetime.fromisoformat(at).astimezone(UTC)
    today = then.date() == datetime.now(UTC).date()
    return f"{then:%H:%M:%S}" if today else f"{then:%Y-%m-%d %H:%M:%S}"


def _describe_quorum(status: dict[str, Any]) -> str:
    validators = [node for node in status["nodes"] if node["votes"]]
    present = sum(node["here"] for node in validators)
    if status["quorum"] is None:
        return "not known yet"
    mark = "" if present >= status["quorum"] else " [red](no quorum: rounds fail, serving goes on)[/]"
    return f"{status['quorum']} of {len(validators)}, {present} here{mark}"
