"""What groups of settings are made of: a frozen base, and the kinds of values that recur."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode


def _split_list(given: object) -> object:
    """Split a text at commas and blanks, since the environment has no lists."""
    return tuple(filter(None, re.split(r"[,\s]+", given))) if isinstance(given, str) else given


Seconds = Annotated[float, Field(gt=0, le=86_400)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_list)]
Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=6)]


class SettingsGroup(BaseModel):
    """Settings that belong together, frozen."""

    # `load` refuses unknown names by name. What Kubernetes adds about services must pass here.
    model_config = ConfigDict(frozen=True, extra="ignore")
