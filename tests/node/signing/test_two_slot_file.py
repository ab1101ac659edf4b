"""A record overwritten in place: the newest one that was flushed is read, or nothing is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn.node.signing import two_slot_file
from ccn.node.signing.two_slot_file import BLOCK, DamagedRecord, TwoSlotFile

LONGEST = BLOCK - len(b"ccn/slot/v1 ") - 20 - 1 - 64 - 1 - 1 - 1
"""Bytes of the longest body: one zero stays behind it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "record"
    two_slot_file.create_file(file, b"first", 0o600)
    return file


def write(path: Path, *bodies: bytes) -> None:
    file = TwoSlotFile(path)
    try:
        for body in bodies:
            file.write_record(body)
    finally:
        file.close()


def spoil(path: Path, block: int) -> None:
    """Put zeros in the place of a block."""
    whole = path.read_bytes()
    path.write_bytes(whole[: block * BLOCK] + bytes(BLOCK) + whole[(block + 1) * BLOCK :])


def newest_block(path: Path) -> int:
    numbers = [int(path.read_bytes()[at * BLOCK + 12 :][:20]) for at in (0, 1)]
    return numbers.index(max(numbers))


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_the_newest_record_is_read_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("records") / "record"
    two_slot_file.create_file(path, b"", 0o600)
    write(path, *bodies)
    assert two_slot_file.read_newest(path) == bodies[-1]
    assert len(path.read_bytes()) == 3 * BLOCK


@pytest.mark.parametrize(
    "body",
    [b"", b"\n", b"\0", b"\n\0", b"x\n\0\0\n", bytes(100), b"\xff" * LONGEST, b"\n\0" * (LONGEST // 2)],
)
def test_a_body_may_look_like_its_own_end(path: Path, body: bytes) -> None:
    write(path, body)
    assert two_slot_file.read_newest(path) == body


def test_a_record_that_does_not_fit_is_refused_and_the_one_before_it_stays(path: Path) -> None:
    file = TwoSlotFile(path)
    with pytest.raises(ValueError, match="does not fit"):
        file.write_record(b"x" * (LONGEST + 1))
    file.write_record(b"x" * LONGEST)
    file.close()
    assert two_slot_file.read_newest(path) == b"x" * LONGEST
    with pytest.raises(ValueError, match="does not fit"):
        two_slot_file.create_file(path, b"x" * BLOCK, 0o600)
    assert two_slot_file.read_newest(path) == b"x" * LONGEST


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_without_the_older_record_the_newest_is_read(path: Path, written: int) -> None:
    write(path, *(b"%d" % number for number in range(written)))
    newest = two_slot_file.read_newest(path)
    spoil(path, 1 - newest_block(path))
    assert two_slot_file.read_newest(path) == newest


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_without_the_newest_record_nothing_is_read(path: Path, written: int) -> None:
    write(path, *(b"%d" % number for number in range(written)))
    spoil(path, newest_block(path))
    with pytest.raises(DamagedRecord, match="the newest record cannot be read"):
        two_slot_file.read_newest(path)
    with pytest.raises(DamagedRecord):
        TwoSlotFile(path)


def test_with_both_records_damaged_nothing_is_read(path: Path) -> None:
    spoil(path, 0)
    spoil(path, 1)
    with pytest.raises(DamagedRecord, match="a record cannot be read"):
        two_slot_file.read_newest(path)


def test_without_the_number_that_was_flushed_both_records_must_be_whole(path: Path) -> None:
    write(path, b"second")
    spoil(path, 2)
    assert two_slot_file.read_newest(path) == b"second"
    spoil(path, 1 - newest_block(path))
    with pytest.raises(DamagedRecord):
        two_slot_file.read_newest(path)


@pytest.mark.parametrize(
    "change",
    [lambda _: b"", lambda whole: whole[:-1], lambda whole: whole + b"\0", lambda whole: whole[:BLOCK] * 3],
)
def test_a_file_of_another_length_or_with_one_record_everywhere_is_damaged(
    path: Path, change: Callable[[bytes], bytes]
) -> None:
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DamagedRecord):
        two_slot_file.read_newest(path)


def test_records_that_changed_places_are_damaged(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[BLOCK : 2 * BLOCK] + whole[:BLOCK] + whole[2 * BLOCK :])
    with pytest.raises(DamagedRecord):
        two_slot_file.read_newest(path)


def test_an_older_copy_of_a_record_in_the_place_of_the_newest_is_noticed(path: Path) -> None:
    write(path, b"one", b"two")
    older = path.read_bytes()
    write(path, b"three", b"four")
    at = newest_block(path) * BLOCK
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + older[at : at + BLOCK] + whole[at + BLOCK :])
    with pytest.raises(DamagedRecord, match="the newest record cannot be read"):
        two_slot_file.read_newest(path)


def test_a_flush_that_fails_leaves_a_record_that_can_be_read(path: Path) -> None:
    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    file = TwoSlotFile(path, fails)
    with pytest.raises(OSError, match="Input/output"):
        file.write_record(b"second")
    assert file.body == b"first"
    file.close()
    assert two_slot_file.read_newest(path) in {b"first", b"second"}


def test_a_file_goes_on_where_it_was_left(path: Path) -> None:
    for number in range(4):
        file = TwoSlotFile(path)
        assert file.body == (b"%d" % (number - 1) if number else b"first")
        file.write_record(b"%d" % number)
        file.close()
    assert two_slot_file.read_newest(path) == b"3"


def test_a_link_is_not_opened_and_what_is_damaged_leaves_no_file_open(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        TwoSlotFile(link)
    before = len(list(Path("/proc/self/fd").iterdir()))
    spoil(path, newest_block(path))
    for _ in range(3):
        with pytest.raises(DamagedRecord):
            TwoSlotFile(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
