"""The command about an empty database."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccn import settings
from tests.support.cli.about_database import Ccn


@pytest.fixture
def ccn(tmp_path: Path, database: settings.DatabaseSettings) -> Ccn:
    return Ccn(tmp_path, database)
