"""Every rule of a record finds what breaks it, also where all nodes have signed it."""

from __future__ import annotations

import io

import pytest

from ccn.cli import verify
from tests.support.cli.verify.lies_in_blocks import BLOCKS, HEADERS, ROSTERS, RULES
from tests.support.cli.verify.lies_in_leaves import STORIES

LIES = STORIES | BLOCKS | HEADERS | ROSTERS | RULES


@pytest.mark.parametrize(("record", "found"), LIES.values(), ids=LIES)
def test_a_lie_is_found_and_nothing_else(record: bytes, found: list[str]) -> None:
    audit = verify.verify(io.BytesIO(record))
    assert [f"{where}: {what}" for _, where, what in audit.findings.ordered] == found
    assert (audit.code, audit.findings.invalid) == (verify.CONTRADICTION, "")
