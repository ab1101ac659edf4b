"""Records that earlier versions wrote still verify: an auditor may have kept them for years."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

from ccn.cli import verify

# Both of three nodes: two users, a redaction, a loop of a user's own, two plates, requests, snapshots.
WRITTEN_FIRST = Path(__file__).with_name("record-v1.gz")
WITH_SPEAKERS = Path(__file__).with_name("record-v2.gz")


def test_a_record_of_the_first_version_still_verifies() -> None:
    record = gzip.decompress(WRITTEN_FIRST.read_bytes())
    found = verify.verify(io.BytesIO(record))
    assert (found.code, found.findings.contradictions, found.findings.invalid) == (verify.VERIFIED, [], "")
    assert (found.chain.height, found.chain.size, found.chain.cosigners) == (
        7,
        56,
        ["node-1", "node-2", "node-3"],
    )
    assert (
        found.findings.counts["messages"],
        found.findings.counts["redacted"],
        found.findings.counts["waiting"],
    ) == (12, 2, 1)


def test_a_record_with_speakers_and_owners_still_verifies() -> None:
    found = verify.verify(io.BytesIO(gzip.decompress(WITH_SPEAKERS.read_bytes())))
    assert (found.code, found.findings.contradictions, found.findings.invalid) == (verify.VERIFIED, [], "")
    assert (found.chain.height, found.chain.size, found.findings.counts["recorded"]) == (5, 58, 1)
    assert found.findings.counts["operator requests"] == 11  # two of an admin who opened a conversation
