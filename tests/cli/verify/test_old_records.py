"""Records that earlier versions wrote still verify: an auditor may have kept them for years."""

from __future__ import annotations

import io

from ccn.cli import verify
from tests.support.cli.verify.records import WITH_SPEAKERS, WRITTEN_FIRST, join


def test_a_record_of_the_first_version_still_verifies() -> None:
    audit = verify.verify(io.BytesIO(join(WRITTEN_FIRST)))
    chain, counts = audit.chain, audit.findings.counts
    assert (audit.code, audit.findings.contradictions, audit.findings.invalid) == (verify.VERIFIED, [], "")
    assert (chain.height, chain.size, chain.cosigners) == (7, 56, ["node-1", "node-2", "node-3"])
    assert (counts["messages"], counts["redacted"], counts["waiting"]) == (12, 2, 1)


def test_a_record_with_speakers_and_owners_still_verifies() -> None:
    audit = verify.verify(io.BytesIO(join(WITH_SPEAKERS)))
    chain, counts = audit.chain, audit.findings.counts
    assert (audit.code, audit.findings.contradictions, audit.findings.invalid) == (verify.VERIFIED, [], "")
    assert (chain.height, chain.size, counts["recorded"]) == (5, 58, 1)
    assert counts["operator requests"] == 11  # two of an admin who opened a conversation
