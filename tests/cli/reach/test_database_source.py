"""A cluster over its database: one connection serves all that a command asks."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from ccn import errors, settings
from ccn.cli.reach import source
from ccn.cli.reach.source import Source
from ccn.cli.reach.target import DatabaseTarget


@pytest.fixture
def cluster(database: settings.DatabaseSettings) -> Iterator[Source]:
    at = DatabaseTarget(database.url.get_secret_value(), "a test")
    with source.open_source(at, quiet=True) as opened:
        yield opened


def test_a_database_is_asked_as_often_as_a_command_likes(cluster: Source) -> None:
    assert cluster.list_rounds(5) == []
    with pytest.raises(errors.NotFound, match="not founded yet"):
        cluster.list_validators()
    with pytest.raises(errors.NotFound):
        cluster.load_round(7)
    with pytest.raises(errors.Unanswered):
        cluster.ask("round", {}, "ann", patience_s=0.1)
    (waiting,) = cluster.list_requests(5, ended=False)
    assert (waiting["command"], waiting["state"]) == ("round", "waiting")
    with pytest.raises(errors.NotFound, match="no node node-1"):
        cluster.load_of_node("node-1")
    cluster.take_back(UUID(str(waiting["request"])), "bob", "a slip")
    (back,) = cluster.list_requests(5, ended=False)
    assert back["state"] == "taken back"


def test_an_empty_database_has_no_characters_and_no_instances(cluster: Source) -> None:
    assert cluster.list_plates() == []
    with pytest.raises(errors.NotFound, match="and no conversation in which one lives"):
        cluster.find_host(UUID(int=5))
