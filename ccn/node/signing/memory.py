"""What this node last signed, on its disk: the memory that keeps it from ever contradicting itself.

    STATE/signing.key    the key
          signer.state   what was voted for and cosigned last, in two slots that take turns
          signer.lock    held while a process may sign; the kernel lets go when that process dies

The rules are in `core.rounds.signer`, and `voting` asks them. What they allow is on disk when `save`
returns. The state is made before the key, so a key without one has lost it and must not sign again: whoever
restored a key alone would let it vote twice. After a write that failed nobody knows what the disk holds, so
nothing is saved any more until a restart has read it.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ccn import errors
from ccn.core.rounds import signer
from ccn.core.rounds.signer import NumberedHash, SignerState
from ccn.node.signing import signing_key, two_slot_file
from ccn.node.signing.durable_files import Sync
from ccn.node.signing.signing_key import SigningKeyPair
from ccn.node.signing.two_slot_file import TwoSlotFile

STATE = "signer.state"
LOCK = "signer.lock"
_MODE = 0o600
_FRESH = b""


def prepare_folder(folder: Path, sync: Sync = os.fsync) -> SigningKeyPair:
    """The key and the empty memory of a new node; a node that has its key already keeps both."""
    _make_folder(folder)
    if (folder / signing_key.FILE).exists():
        return signing_key.read_key(folder)
    with _lock_folder(folder):
        if (folder / signing_key.FILE).exists():  # by another process, which may have signed since
            return signing_key.read_key(folder)
        two_slot_file.create_file(folder / STATE, _FRESH, _MODE, sync)
        return signing_key.create_key(folder, sync)


def _make_folder(folder: Path) -> None:
    """The folder of a new node, for nobody else's eyes."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as refused:
        raise errors.SettingsInvalid(
            f"CCN_NODE_STATE_DIR: {folder} cannot be made: {refused.strerror}"
        ) from refused


@contextmanager
def open_right(folder: Path, sync: Sync = os.fdatasync) -> Iterator[SigningRight]:
    """The right to sign with the key in this folder, for one process at a time."""
    with _lock_folder(folder):
        key, memory = signing_key.read_key(folder), _open_slots(folder / STATE, sync)
        try:
            yield SigningRight(folder / STATE, key, read_state(folder / STATE), memory)
        finally:
            memory.close()


def read_state(file: Path) -> SignerState | None:
    """What a memory shows; None for a node that has signed nothing yet."""
    try:
        body = two_slot_file.read_newest(file)
    except OSError as unreadable:
        raise _unreadable_error(file, unreadable) from unreadable
    except two_slot_file.DamagedRecord as damaged:
        raise _damaged_error(file, damaged) from damaged
    try:
        return None if body == _FRESH else signer.parse_state(body)
    except errors.InputInvalid as strange:
        raise errors.SigningRefused(f"{file} is not of this version: {strange}") from None


@dataclass(slots=True)
class SigningRight:
    """The key, and what is known of its past: `known` is None for a node that has signed nothing yet."""

    file: Path
    key: SigningKeyPair
    known_state: SignerState | None
    slots: TwoSlotFile
    _memory: SignerMemory | None = None

    @property
    def state(self) -> SignerState | None:
        """What this node signed last; None while it has signed nothing."""
        return self.known_state if self._memory is None else self._memory.state

    def open_memory(self, first: SignerState) -> SignerMemory:
        """The one memory of what this node signed last; a new node begins with `first`."""
        if self._memory is None:
            self._memory = SignerMemory(self.file, self.known_state or first, self.slots)
            if self.known_state is None:
                self._memory.write_state(first)
        return self._memory

    def accept_loss(self, kept: NumberedHash) -> None:
        """Write down that this node's leaves end here: what it acknowledged later is lost and let go."""
        if (state := self.state) is not None:
            self.open_memory(state).let_go(kept)

    def remember_acknowledged(self, acknowledged: NumberedHash | None) -> None:
        """Write down what this node acknowledged since it last signed something."""
        if (state := self.state) is not None:
            self.open_memory(state).save(signer.with_acknowledged(state, acknowledged))


class SignerMemory:
    """The last state, here and on the disk."""

    def __init__(self, file: Path, state: SignerState, disk: TwoSlotFile) -> None:
        self.state = state
        self._file, self._slots = file, disk
        self._one_at_a_time = threading.Lock()
        self._broken = ""

    def save(self, state: SignerState) -> None:
        """On the disk, flushed, when this returns. A state that takes something back is refused."""
        with self._one_at_a_time:
            if state == self.state and not self._broken:
                return
            if not _takes_nothing_back(self.state, state):
                raise errors.SigningRefused(f"{self._file}: what was signed cannot be taken back")
            self.write_state(state)
            self.state = state

    def let_go(self, kept: NumberedHash) -> None:
        """Forget leaves from here on, and nothing that was signed."""
        with self._one_at_a_time:
            state = signer.without_leaves_after(self.state, kept)
            self.write_state(state)
            self.state = state

    def write_state(self, state: SignerState) -> None:
        """Put the state on the disk, whatever it was before."""
        if self._broken:
            raise errors.SigningRefused(self._broken)
        try:
            self._slots.write_record(state.body())
        except OSError as failed:
            self._broken = f"{self._file} could not be written: {failed.strerror}; restart this node"
            raise errors.SigningRefused(self._broken) from failed


def _takes_nothing_back(before: SignerState, after: SignerState) -> bool:
    """Whether nothing signed is forgotten: the second half of the rules in `core.rounds.signer`."""
    if after.height < before.height or (after.height == before.height and after.block != before.block):
        return False
    if after.acknowledged.number < before.acknowledged.number:
        return False
    voted, votes = (
        (before.voted_height, before.voted_term),
        (after.voted_height, after.voted_term),
    )
    return votes > voted or (votes == voted and after.voted_block == before.voted_block)


def _open_slots(file: Path, sync: Sync) -> TwoSlotFile:
    try:
        return TwoSlotFile(file, sync)
    except OSError as unreadable:
        raise _unreadable_error(file, unreadable) from unreadable
    except two_slot_file.DamagedRecord as damaged:
        raise _damaged_error(file, damaged) from damaged


def _unreadable_error(file: Path, why: OSError) -> errors.SigningRefused:
    return errors.SigningRefused(
        f"{file} cannot be read ({why.strerror}), and its key may have signed before"
    )


def _damaged_error(file: Path, why: ValueError) -> errors.SigningRefused:
    return errors.SigningRefused(f"{file} is damaged ({why}), and its key may have signed before")


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Nobody else prepares or signs here; what a process left behind that was killed is swept."""
    opened = _open_lock(folder / LOCK)
    try:
        for name in (STATE, signing_key.FILE):
            for left in folder.glob(f".{name}-*"):
                left.unlink(missing_ok=True)
        yield
    finally:
        os.close(opened)


def _open_lock(file: Path) -> int:
    try:
        opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    except OSError as refused:
        raise errors.SigningRefused(f"{file} cannot be opened: {refused.strerror}") from refused
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(opened)
        raise errors.SigningRefused(
            f"{file} is held: another process signs with the key beside it"
        ) from None
    return opened
