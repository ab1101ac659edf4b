"""The newest timeline of the database outlives the process, and a file that says nothing is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ccn import errors
from ccn.core.rounds.database_timeline import DatabaseTimeline
from ccn.node.recovery import timeline_file

SEEN = DatabaseTimeline(-7_123_456_789_012_345_678, 3)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert timeline_file.open_memory(tmp_path).newest is None
    timeline_file.open_memory(tmp_path).keep(SEEN)
    assert timeline_file.open_memory(tmp_path).newest == SEEN
    assert stat.S_IMODE((tmp_path / timeline_file.FILE).stat().st_mode) == 0o600
    assert timeline_file.open_memory(None).newest is None


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path) -> None:
    (tmp_path / timeline_file.FILE).write_text("system 7\n")
    with pytest.raises(errors.SettingsInvalid, match="does not say which database"):
        timeline_file.open_memory(tmp_path)
    with pytest.raises(errors.SettingsInvalid, match="cannot be written"):
        timeline_file.write_timeline(tmp_path / "gone", SEEN)
