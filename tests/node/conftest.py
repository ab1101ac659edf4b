"""What all tests of nodes are handed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ccn import settings
from tests.support.node import round_world
from tests.support.node.round_world import World


@pytest.fixture
async def world(database: settings.DatabaseSettings) -> AsyncIterator[World]:
    """A founded chain; node-1 has written a plate, a conversation and its beginning."""
    async with round_world.found_chain(database) as made:
        yield made
