"""A node's disk remembers what it signed, whatever interrupts it, and lets nobody sign without that."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ccn import errors
from ccn.core.rounds.signer import NumberedHash, SignerState
from ccn.node.signing import durable_files, signing_key, two_slot_file
from ccn.node.signing import memory as signing_memory

GENESIS = SignerState(0, b"c" * 32)
NEWEST = NumberedHash(9, b"l" * 32)

# Votes and cosigns for ever; a line is printed once the state it names is saved.
SAVING = """
import sys
from pathlib import Path
from ccn.core.rounds.signer import SignerState
from ccn.node.signing import memory

def block(number): return number.to_bytes(32, "big")

with memory.open_right(Path(sys.argv[1])) as right:
    memory = right.open_memory(SignerState(0, block(0)))
    print("ready", flush=True)
    height = memory.state.height
    while True:
        state = memory.state
        memory.save(SignerState(height, block(height), height + 1, 1, block(height + 1)))
        print(f"voted {height + 1}", flush=True)
        height += 1
        memory.save(SignerState(height, block(height), height, 1, block(height)))
        print(f"cosigned {height}", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "state of a node"
    made.mkdir()
    return made


@pytest.fixture
def prepared(folder: Path) -> Path:
    """The folder of a node that has signed nothing yet."""
    signing_memory.prepare_folder(folder)
    return folder


def voted(height: int, term: int = 1, block: bytes = b"v" * 32) -> SignerState:
    return SignerState(height - 1, b"c" * 32, height, term, block)


def test_a_new_node_begins_once_and_goes_on_where_it_was(prepared: Path) -> None:
    with signing_memory.open_right(prepared) as held:
        assert held.known_state is None
        memory = held.open_memory(GENESIS)
        assert memory.state == GENESIS
        memory.save(voted(1))
    with signing_memory.open_right(prepared) as held:
        assert held.known_state == voted(1)
        assert held.open_memory(GENESIS).state == voted(1)


def test_a_beginning_is_on_the_disk_too(prepared: Path) -> None:
    with signing_memory.open_right(prepared) as held:
        held.open_memory(GENESIS)
    with signing_memory.open_right(prepared) as held:
        assert held.known_state == GENESIS


@pytest.mark.parametrize(
    "after",
    [
        voted(5, term=2),
        voted(4, term=3),
        voted(5, term=3, block=b"x" * 32),
        SignerState(4, b"x" * 32, 5, 3, b"v" * 32),
        SignerState(3, b"c" * 32, 4, 9, b"v" * 32),
        GENESIS,
        replace(voted(6), acknowledged=NumberedHash(8, b"l" * 32)),
    ],
)
def test_nothing_that_was_signed_is_taken_back(prepared: Path, after: SignerState) -> None:
    with signing_memory.open_right(prepared) as held:
        memory = held.open_memory(GENESIS)
        memory.save(replace(voted(5, term=3), acknowledged=NEWEST))
        with pytest.raises(errors.SigningRefused, match="taken back"):
            memory.save(after)
        assert memory.state == replace(voted(5, term=3), acknowledged=NEWEST)
        memory.save(replace(voted(5, term=4, block=b"x" * 32), acknowledged=NEWEST))


def test_what_was_acknowledged_last_is_written_down_at_the_end(prepared: Path) -> None:
    with signing_memory.open_right(prepared) as held:
        held.remember_acknowledged(
            NEWEST
        )  # of a node that has signed nothing yet, there is no record to lose it from
        assert held.state is None
        held.open_memory(GENESIS)
        held.remember_acknowledged(NEWEST)
        held.remember_acknowledged(None)
    with signing_memory.open_right(prepared) as held:
        assert held.state == replace(GENESIS, acknowledged=NEWEST)
        held.remember_acknowledged(NumberedHash(8, b"o" * 32))
        assert held.open_memory(GENESIS).state.acknowledged == NEWEST


def test_two_processes_cannot_both_sign(prepared: Path) -> None:
    code = "import sys; from pathlib import Path; from ccn.node.signing import memory\n"
    code += "with memory.open_right(Path(sys.argv[1])): pass"
    with signing_memory.open_right(prepared):
        with (
            pytest.raises(errors.SigningRefused, match="another process"),
            signing_memory.open_right(prepared),
        ):
            pass
        second = subprocess.run(
            [sys.executable, "-c", code, prepared], capture_output=True, text=True, check=False, timeout=100
        )
        assert second.returncode == 1
        assert "another process signs with the key" in second.stderr
    with signing_memory.open_right(prepared):
        pass


def _cut(text: bytes) -> bytes:
    return text[:-3]


def _flip(text: bytes) -> bytes:
    return text.replace(b'"height":0', b'"height":9')


@pytest.mark.parametrize(
    "spoil", [_cut, _flip, lambda _: b"", lambda text: text + b"\n", lambda _: b"\xff" * 90]
)
def test_a_damaged_memory_is_refused(prepared: Path, spoil: Callable[[bytes], bytes]) -> None:
    with signing_memory.open_right(prepared) as held:
        held.open_memory(GENESIS)
    file = prepared / signing_memory.STATE
    file.write_bytes(spoil(file.read_bytes()))
    with (
        pytest.raises(errors.SigningRefused, match="may have signed before"),
        signing_memory.open_right(prepared),
    ):
        pass


def test_a_key_whose_memory_is_gone_never_signs_again(prepared: Path) -> None:
    (prepared / signing_memory.STATE).unlink()
    signing_memory.prepare_folder(prepared)
    with pytest.raises(errors.SigningRefused, match="cannot be read"), signing_memory.open_right(prepared):
        pass


def test_a_bit_that_turns_costs_nothing_that_was_signed(prepared: Path) -> None:
    with signing_memory.open_right(prepared) as held:
        held.open_memory(GENESIS).save(voted(1))
    file = prepared / signing_memory.STATE
    whole, refused = file.read_bytes(), 0
    for at in (
        *range(0, len(whole), 41),
        *range(0, 560, 2),
        *range(two_slot_file.BLOCK, two_slot_file.BLOCK + 560, 2),
    ):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            assert signing_memory.read_state(file) == voted(1)
        except errors.SigningRefused:
            refused += 1
    assert refused >= 280  # whatever is wrong with the newest record


def test_a_write_that_was_torn_leaves_what_was_saved_before(prepared: Path) -> None:
    with signing_memory.open_right(prepared) as held:
        memory = held.open_memory(GENESIS)
        memory.save(voted(1))
        memory.save(voted(2))
    file = prepared / signing_memory.STATE
    before = file.read_bytes()
    with signing_memory.open_right(prepared) as held:
        held.open_memory(GENESIS).save(voted(3))
    after = file.read_bytes()
    at = next(place for place in range(len(before)) if before[place] != after[place])
    begin = at - at % two_slot_file.BLOCK
    for reached in range(0, 560, 16):
        torn = after[begin : begin + reached] + before[begin + reached : begin + two_slot_file.BLOCK]
        file.write_bytes(before[:begin] + torn + before[begin + two_slot_file.BLOCK :])
        known = signing_memory.read_state(file)
        assert known == voted(2) or (
            known == voted(3) and torn == after[begin : begin + two_slot_file.BLOCK]
        )
        # The same bytes are damage once the save had returned: its number says that it did.
        file.write_bytes(after[:begin] + torn + after[begin + two_slot_file.BLOCK :])
        if torn != after[begin : begin + two_slot_file.BLOCK]:
            with pytest.raises(errors.SigningRefused, match="damaged"):
                signing_memory.read_state(file)


def test_preparing_again_keeps_key_and_memory(prepared: Path) -> None:
    with signing_memory.open_right(prepared) as held:
        public = held.key.public
        held.open_memory(GENESIS).save(voted(7))
    assert signing_memory.prepare_folder(prepared).public == public
    with signing_memory.open_right(prepared) as held:
        assert (held.key.public, held.known_state) == (public, voted(7))


def test_who_prepares_a_node_again_at_the_same_moment_does_not_wipe_its_memory(folder: Path) -> None:
    done = list[object]()

    def prepare() -> None:
        try:
            done.append(signing_memory.prepare_folder(folder).public)
        except errors.SigningRefused as refused:
            done.append(refused)

    threads = [threading.Thread(target=prepare) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with signing_memory.open_right(folder) as held:
        assert {each for each in done if isinstance(each, bytes)} == {held.key.public}
        held.open_memory(GENESIS)


def test_what_is_saved_was_flushed_once_and_in_place(prepared: Path) -> None:
    flushed = list[SignerState | None]()
    file = prepared / signing_memory.STATE

    def sync(number: int) -> None:
        assert os.path.sameopenfile(number, opened.fileno())
        os.fdatasync(number)
        flushed.append(signing_memory.read_state(file))

    with file.open("rb") as opened, signing_memory.open_right(prepared, sync) as held:
        memory = held.open_memory(GENESIS)
        flushed.clear()
        before = file.stat()
        memory.save(voted(1))
        memory.save(voted(1))  # the same again needs no write
        memory.save(voted(2))
        after = file.stat()
    assert flushed == [voted(1), voted(2)]
    assert (before.st_ino, before.st_size, before.st_blocks) == (
        after.st_ino,
        after.st_size,
        after.st_blocks,
    )


def test_after_a_write_that_failed_nothing_is_saved_any_more(prepared: Path) -> None:
    broken = False

    def sync(number: int) -> None:
        if broken:
            raise OSError(28, "No space left on device")
        os.fdatasync(number)

    with signing_memory.open_right(prepared, sync) as held:
        memory = held.open_memory(GENESIS)
        broken = True
        with pytest.raises(errors.SigningRefused, match="No space left"):
            memory.save(voted(1))
        for state in (voted(1), voted(2), GENESIS):
            with pytest.raises(errors.SigningRefused, match="restart"):
                memory.save(state)
    with signing_memory.open_right(prepared) as held:
        assert held.known_state in {GENESIS, voted(1)}
    assert [
        each.name for each in prepared.iterdir() if each.name.startswith(f".{signing_memory.STATE}")
    ] == []


def test_two_threads_save_one_after_the_other(prepared: Path) -> None:
    with signing_memory.open_right(prepared) as held:
        memory, refused = held.open_memory(GENESIS), list[int]()

        def save(block: int) -> None:
            try:
                memory.save(SignerState(0, b"c" * 32, 1, 1, bytes([block]) * 32))
            except errors.SigningRefused:
                refused.append(block)

        threads = [threading.Thread(target=save, args=(block,)) for block in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(refused) == 7
        kept = memory.state
    with signing_memory.open_right(prepared) as held:
        assert held.known_state == kept


@pytest.fixture
def saver(prepared: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    started = list[subprocess.Popen[str]]()

    def start() -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen([sys.executable, "-c", SAVING, prepared], stdout=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(10)
        assert process.stdout
        process.stdout.close()


def test_a_process_killed_at_any_instant_forgets_nothing_it_signed(
    prepared: Path, saver: Callable[[], subprocess.Popen[str]]
) -> None:
    chance = random.Random(3)
    last = 0
    for _ in range(12):
        process = saver()
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        timer = threading.Timer(chance.uniform(0.0, 0.05), process.kill)
        timer.start()
        said = [line.split() for line in process.stdout if line.endswith("\n")]
        timer.join()
        with signing_memory.open_right(prepared) as held:
            known = held.known_state
        assert known is not None
        for word, number in said[-2:]:
            assert (known.voted_height if word == "voted" else known.height) >= int(number)
        assert known.height >= last
        assert known.voted_height - known.height in {0, 1}
        assert [file.name for file in prepared.iterdir() if file.name.startswith(".")] == []
        last = known.height
    assert last > 12


def test_a_key_is_made_once_kept_from_others_and_never_shown(folder: Path) -> None:
    made = signing_key.create_key(folder)
    file = folder / signing_key.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    with pytest.raises(errors.InputInvalid, match="never overwritten"):
        signing_key.create_key(folder)
    assert file.read_bytes() == before
    assert [each.name for each in folder.iterdir()] == [signing_key.FILE]
    secret = before.split()[2].decode()
    assert secret not in repr(made)
    read = signing_key.read_key(folder)
    signature = read.sign(b"message")
    assert read.public == made.public
    assert signing_key.check_signature(made.public, b"message", signature)
    assert made.sign(b"message") == signature


def test_checking_says_no_to_whatever_is_no_signature(folder: Path) -> None:
    made = signing_key.create_key(folder)
    signature = made.sign(b"message")
    assert not signing_key.check_signature(made.public, b"another", signature)
    assert not signing_key.check_signature(made.public, b"message", signature[:-1])
    assert not signing_key.check_signature(made.public, b"message", b"")
    assert not signing_key.check_signature(made.public[:-1], b"message", signature)
    assert not signing_key.check_signature(b"", b"message", signature)
    assert not signing_key.check_signature(bytes(32), b"message", bytes(64))


def test_a_key_that_is_damaged_absent_or_open_to_everybody_is_refused(folder: Path) -> None:
    with pytest.raises(errors.SigningRefused, match="cannot be read"):
        signing_key.read_key(folder)
    signing_key.create_key(folder)
    file = folder / signing_key.FILE
    file.chmod(0o644)
    with pytest.raises(errors.SigningRefused, match="open to everybody"):
        signing_key.read_key(folder)
    file.chmod(0o640)  # a volume that a group was given
    signing_key.read_key(folder)
    whole = file.read_bytes()
    for spoilt in (whole[:-1], whole[:-5] + b"0000\n", b""):
        file.write_bytes(spoilt)
        if spoilt != whole:
            with pytest.raises(errors.SigningRefused, match="damaged"):
                signing_key.read_key(folder)


def test_a_file_is_there_as_a_whole_or_not_at_all(folder: Path) -> None:
    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    for write in (durable_files.create_file, durable_files.replace_file):
        with pytest.raises(OSError, match="Input/output"):
            write(folder / "new", b"data", 0o600, fails)
        assert list(folder.iterdir()) == []
    durable_files.create_file(folder / "new", b"data", 0o640)
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o640
    with pytest.raises(FileExistsError):
        durable_files.create_file(folder / "new", b"other", 0o600)
    durable_files.replace_file(folder / "new", b"other", 0o600)
    assert (folder / "new").read_bytes() == b"other"


def test_a_new_node_gets_its_folder_and_nobody_else_may_look_into_it(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "node-1"
    signing_memory.prepare_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(
        errors.SettingsInvalid, match=r"CCN_NODE_STATE_DIR: .* cannot be made: Not a directory"
    ):
        signing_memory.prepare_folder(tmp_path / "file" / "node-2")
