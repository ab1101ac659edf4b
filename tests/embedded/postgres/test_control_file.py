"""What a data directory says of itself, and what is said of one that cannot tell."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ccn import errors
from ccn.embedded.postgres import control_file

SYSTEM = 7_412_345_678_901_234_567
IN_PRODUCTION = 6


def write_control(pgdata: Path, state: int, length: int = 8192) -> Path:
    file = pgdata / "global" / "pg_control"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(struct.pack("=QIIi", SYSTEM, 1300, 202_307_071, state).ljust(8192, b"\0")[:length])
    return pgdata


@pytest.mark.parametrize("state", range(8))
def test_only_a_server_in_production_leads(tmp_path: Path, state: int) -> None:
    pgdata = write_control(tmp_path, state)
    assert control_file.leads(pgdata) is (state == IN_PRODUCTION)
    assert control_file.read_system_identifier(pgdata) == SYSTEM


@pytest.mark.parametrize("length", [0, 8, 19])
def test_a_file_that_was_cut_off_is_told_as_damage(tmp_path: Path, length: int) -> None:
    pgdata = write_control(tmp_path, IN_PRODUCTION, length)
    for read in (control_file.leads, control_file.read_system_identifier):
        with pytest.raises(errors.DataDirectoryUnusable, match="pg_control is damaged"):
            read(pgdata)


def test_a_folder_without_the_file_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(errors.DataDirectoryUnusable, match=f"{tmp_path} cannot be used: No such file"):
        control_file.leads(tmp_path)
