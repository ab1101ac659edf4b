"""Who speaks in tests that look at something else."""

from __future__ import annotations

from uuid import UUID

from ccn.core.ids import InstanceId, UserId

ANN = UserId(UUID("01900000-0000-7000-8000-0000000000aa"))
"""A person."""
WREN = InstanceId(UUID("01900000-0000-7000-8000-0000000000bb"))
"""An instance."""
