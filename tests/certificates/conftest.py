"""An authority that issues the certificates of these tests."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ccn.certificates import issuing
from ccn.certificates.issuing import IssuedCertificate

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def authority() -> IssuedCertificate:
    return issuing.issue_authority(NOW)
