"""Records that earlier versions wrote still verify: an auditor may have kept them for years."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

from ccn.cli import verify

# Of three nodes: two users, a redaction, a loop of a user's own, two plates, requests, snapshots.
WRITTEN_FIRST = Path(__file__).with_name("record-v1.gz")


def test_a_record_of_the_first_version_still_verifies() -> None:
    record = gzip.decompress(WRITTEN_FIRST.read_bytes())
    found = verify.verify(io.BytesIO(record))
    assert (found.code, found.findings, found.invalid) == (verify.VERIFIED, [], "")
    assert (found.height, found.size, found.cosigners) == (7, 56, ["node-1", "node-2", "node-3"])
    assert (found.counts["messages"], found.counts["redacted"], found.counts["waiting"]) == (12, 2, 1)
