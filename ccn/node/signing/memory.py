"""What this node last signed, on its disk: the memory that keeps it from ever contradicting itself.

    STATE/signing.key    the key
          signer.state   what was voted for and cosigned last, in two slots that take turns
          signer.lock    held while a process may sign; the kernel lets go when that process dies

The rules are in `core.signer`, and `voting` asks them; here what they allow is on the disk when `save`
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
from ccn.core.rounds.signer import Mark, SignerState
from ccn.node.signing import signing_key, two_slot_file
from ccn.node.signing.durable_files import Sync
from ccn.node.signing.signing_key import Key
from ccn.node.signing.two_slot_file import Slots

STATE = "signer.state"
LOCK = "signer.lock"
_MODE = 0o600
_FRESH = b""


def prepare(folder: Path, sync: Sync = os.fsync) -> Key:
    """The key and the empty memory of a new node; a node that has its key already keeps both."""
    _make(folder)
    if (folder / signing_key.FILE).exists():
        return signing_key.read(folder)
    with _held(folder):
        if (folder / signing_key.FILE).exists():  # by another process, which may have signed since
            return signing_key.read(folder)
        two_slot_file.create(folder / STATE, _FRESH, _MODE, sync)
        return signing_key.create(folder, sync)


def _make(folder: Path) -> None:
    """The folder of a new node, for nobody else's eyes."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as refused:
        raise errors.SettingsInvalid(
            f"CCN_NODE_STATE_DIR: {folder} cannot be made: {refused.strerror}"
        ) from refused


@contextmanager
def opened(folder: Path, sync: Sync = os.fdatasync) -> Iterator[Signing]:
    """The right to sign with the key in this folder, for one process at a time."""
    with _held(folder):
        key, memory = signing_key.read(folder), _opened(folder / STATE, sync)
        try:
            yield Signing(folder / STATE, key, known(folder / STATE), memory)
        finally:
            memory.close()


def known(file: Path) -> SignerState | None:
    """What a memory shows; None for a node that has signed nothing yet."""
    try:
        body = two_slot_file.read(file)
    except OSError as unreadable:
        raise _unreadable(file, unreadable) from unreadable
    except two_slot_file.Damaged as damaged:
        raise _damaged(file, damaged) from damaged
    try:
        return None if body == _FRESH else signer.parse(body)
    except errors.InputInvalid as strange:
        raise errors.SigningRefused(f"{file} is not of this version: {strange}") from None


@dataclass(slots=True)
class Signing:
    """The key, and what is known of its past: `known` is None for a node that has signed nothing yet."""

    file: Path
    key: Key
    known: SignerState | None
    disk: Slots
    _memory: Memory | None = None

    @property
    def state(self) -> SignerState | None:
        """What this node signed last; None while it has signed nothing."""
        return self.known if self._memory is None else self._memory.state

    def memory(self, first: SignerState) -> Memory:
        """The one memory of what this node signed last; a new node begins with `first`."""
        if self._memory is None:
            self._memory = Memory(self.file, self.known or first, self.disk)
            if self.known is None:
                self._memory.write(first)
        return self._memory

    def accept_loss(self, kept: Mark) -> None:
        """Write down that this node's leaves end here: what it acknowledged later is lost and let go."""
        if (state := self.state) is not None:
            self.memory(state).let_go(kept)

    def remember(self, acknowledged: Mark | None) -> None:
        """Write down what this node acknowledged since it last signed something."""
        if (state := self.state) is not None:
            self.memory(state).save(signer.acknowledging(state, acknowledged))


class Memory:
    """The last state, here and on the disk."""

    def __init__(self, file: Path, state: SignerState, disk: Slots) -> None:
        self.state = state
        self._file, self._disk = file, disk
        self._one_at_a_time = threading.Lock()
        self._broken = ""

    def save(self, state: SignerState) -> None:
        """On the disk, flushed, when this returns. A state that takes something back is refused."""
        with self._one_at_a_time:
            if state == self.state and not self._broken:
                return
            if not _goes_on(self.state, state):
                raise errors.SigningRefused(f"{self._file}: what was signed cannot be taken back")
            self.write(state)
            self.state = state

    def let_go(self, kept: Mark) -> None:
        """Forget leaves from here on, and nothing that was signed."""
        with self._one_at_a_time:
            state = signer.without(self.state, kept)
            self.write(state)
            self.state = state

    def write(self, state: SignerState) -> None:
        """Put the state on the disk, whatever it was before."""
        if self._broken:
            raise errors.SigningRefused(self._broken)
        try:
            self._disk.write(state.body())
        except OSError as failed:
            self._broken = f"{self._file} could not be written: {failed.strerror}; restart this node"
            raise errors.SigningRefused(self._broken) from failed


def _goes_on(before: SignerState, after: SignerState) -> bool:
    """Whether nothing that was signed is forgotten: the second half of the rules in `core.signer`."""
    if after.height < before.height or (after.height == before.height and after.block != before.block):
        return False
    if after.acknowledged.number < before.acknowledged.number:
        return False
    voted, votes = (
        (before.voted_height, before.voted_term),
        (after.voted_height, after.voted_term),
    )
    return votes > voted or (votes == voted and after.voted_block == before.voted_block)


def _opened(file: Path, sync: Sync) -> Slots:
    try:
        return Slots(file, sync)
    except OSError as unreadable:
        raise _unreadable(file, unreadable) from unreadable
    except two_slot_file.Damaged as damaged:
        raise _damaged(file, damaged) from damaged


def _unreadable(file: Path, why: OSError) -> errors.SigningRefused:
    return errors.SigningRefused(
        f"{file} cannot be read ({why.strerror}), and its key may have signed before"
    )


def _damaged(file: Path, why: ValueError) -> errors.SigningRefused:
    return errors.SigningRefused(f"{file} is damaged ({why}), and its key may have signed before")


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Nobody else prepares or signs here; what a process left behind that was killed is swept."""
    opened = _locked(folder / LOCK)
    try:
        for name in (STATE, signing_key.FILE):
            for left in folder.glob(f".{name}-*"):
                left.unlink(missing_ok=True)
        yield
    finally:
        os.close(opened)


def _locked(file: Path) -> int:
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
