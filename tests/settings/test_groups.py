"""The groups keep what was read."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ccn import settings


def test_groups_are_frozen() -> None:
    with pytest.raises(ValidationError):
        settings.Settings().http.port = 1
