"""A command gets the source that belongs to the way it was pointed."""

from __future__ import annotations

from ccn import settings
from ccn.cli.reach import source
from ccn.cli.reach.database_source import DatabaseSource
from ccn.cli.reach.http_source import HttpSource
from ccn.cli.reach.target import DatabaseTarget, HttpTarget


def test_a_node_is_reached_over_http_and_a_database_over_its_url(
    database: settings.DatabaseSettings,
) -> None:
    with source.open_source(HttpTarget(("http://a:1",), "", "a test"), quiet=True) as cluster:
        assert isinstance(cluster, HttpSource)
    url = database.url.get_secret_value()
    with source.open_source(DatabaseTarget(url, "a test"), quiet=True) as cluster:
        assert isinstance(cluster, DatabaseSource)
