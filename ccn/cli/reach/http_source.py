"""A cluster over the HTTP API of one of its nodes: each call is a request with an admin's API key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlencode
from uuid import UUID

from ccn.cli.reach import ask, remote
from ccn.cli.reach.fields import Fields, missing_instance
from ccn.cli.reach.target import HttpTarget
from ccn.store.operators.drains import NodeLoad

_ADMIN = "/api/v1/admin"
_REQUESTS = f"{_ADMIN}/requests"
_PAGE = 200


class HttpSource:
    """A cluster over the HTTP API of one of its nodes."""

    def __init__(self, at: HttpTarget) -> None:
        self._at = at

    def ask(
        self,
        command: str,
        body: Mapping[str, object],
        by: str,
        *,
        node: str | None = None,
        patience_s: float = ask.PATIENCE_S,
    ) -> Fields:
        """Have the node ask, which waits as long as it sees fit."""
        del patience_s
        request = {"command": command, "body": dict(body), "node": node, "by": by}
        return dict(remote.post(self._at, _REQUESTS, request)["outcome"])

    def list_requests(self, limit: int, *, ended: bool) -> list[Fields]:
        """Get the newest requests."""
        query = urlencode({"limit": limit, "ended": str(ended).lower()})
        return self._get_list(f"{_REQUESTS}?{query}", "requests")

    def take_back(self, request: UUID, by: str, reason: str) -> Fields:
        """Delete the request."""
        query = urlencode({"reason": reason, "by": by})
        return remote.delete(self._at, f"{_REQUESTS}/{request}?{query}")

    def list_rounds(self, limit: int) -> list[Fields]:
        """Get the log of rounds."""
        return self._get_list(f"{_ADMIN}/rounds?limit={limit}", "rounds")

    def load_round(self, height: int) -> Fields:
        """Get one block."""
        return remote.get(self._at, f"{_ADMIN}/rounds/{height}")

    def list_validators(self) -> list[Fields]:
        """Get which nodes vote."""
        return self._get_list(f"{_ADMIN}/validators", "nodes")

    def load_of_node(self, node: str) -> NodeLoad:
        """Get what still ties a node to the cluster."""
        load = remote.get(self._at, f"{_ADMIN}/nodes/{node}/load")
        return NodeLoad(load["draining"], load["leads"], load["instances"], load["unsealed"])

    def list_plates(self) -> list[Fields]:
        """Get the characters. A node does not say when and by whom a plate was imported."""
        return [
            {
                "character": character["id"],
                "name": character["name"],
                "version": character["plate_version"],
                "at": None,
                "by": None,
            }
            for character in self._get_list("/api/v1/characters", "characters")
        ]

    def find_host(self, named: UUID) -> tuple[UUID, str]:
        """Look through the living instances, page by page."""
        for instance in self._iterate_instances():
            if str(named) in {instance["instance_id"], instance["session_id"]}:
                return UUID(instance["instance_id"]), str(instance["node"])
        raise missing_instance(named)

    def _iterate_instances(self) -> Iterator[Fields]:
        query: dict[str, object] = {"limit": _PAGE}
        while True:
            page = remote.get(self._at, f"{_ADMIN}/instances?{urlencode(query)}")
            yield from page["instances"]
            if page["next"] is None:
                return
            query["cursor"] = page["next"]

    def _get_list(self, path: str, key: str) -> list[Fields]:
        return list(remote.get(self._at, path)[key])
