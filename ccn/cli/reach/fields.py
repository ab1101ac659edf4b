"""What both ways to a cluster answer alike: an object of JSON, and that an instance is missing.

Separate, because both sources need it and neither knows the other.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ccn import errors

Fields = dict[str, Any]
"""The names and values of one object."""


def missing_instance(named: UUID) -> errors.NotFound:
    """Make the error for an id that names no instance, and no conversation in which one lives."""
    return errors.NotFound(f"there is no instance {named}, and no conversation in which one lives")
