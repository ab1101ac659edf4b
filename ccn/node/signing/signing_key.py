"""This node's Ed25519 key: the file it lies in, signing with it, and checking what others signed.

The only module that knows PyNaCl. `core` is handed two functions. The key is in the folder of the node's
state, readable for its owner alone, and appears in no log, message or representation.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from ccn import errors
from ccn.core.ledger.signed import Sign
from ccn.node.signing import durable_files
from ccn.node.signing.durable_files import Sync

FILE = "signing.key"
_MODE = 0o600
_OTHERS = stat.S_IROTH | stat.S_IWOTH
_FORM = re.compile(rb"ccn/signing-key/v1 ([0-9a-f]{64}) ([0-9a-f]{64})\n")


@dataclass(frozen=True, slots=True)
class SigningKeyPair:
    """A key pair as the rest of a node sees it."""

    public: bytes
    sign: Sign = field(repr=False)


def check_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this key made this signature of this message; False for bytes of any length."""
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


def create_key(folder: Path, sync: Sync = os.fsync) -> SigningKeyPair:
    """A new key in this folder; one that is there is never overwritten."""
    made = SigningKey.generate()
    text = f"ccn/signing-key/v1 {bytes(made.verify_key).hex()} {bytes(made).hex()}\n"
    try:
        durable_files.create_file(folder / FILE, text.encode(), _MODE, sync)
    except FileExistsError:
        raise errors.InputInvalid(f"{folder / FILE} exists, and a key is never overwritten") from None
    return _wrap_pair(made)


def create_temporary() -> SigningKeyPair:
    """A key for as long as this process lives, for a node that has no place to keep one."""
    return _wrap_pair(SigningKey.generate())


def read_key(folder: Path) -> SigningKeyPair:
    """The key in this folder, if it is whole and was kept from others."""
    file = folder / FILE
    try:
        text, mode = file.read_bytes(), file.stat().st_mode
    except OSError as unreadable:
        raise errors.SigningRefused(f"{file} cannot be read: {unreadable.strerror}") from unreadable
    if mode & _OTHERS:
        raise errors.SigningRefused(f"{file} is open to everybody (mode {stat.S_IMODE(mode):03o})")
    parts = _FORM.fullmatch(text)
    if parts:
        found = SigningKey(bytes.fromhex(parts[2].decode()))
        if bytes(found.verify_key).hex() == parts[1].decode():
            return _wrap_pair(found)
    raise errors.SigningRefused(f"{file} is damaged")


def _wrap_pair(pair: SigningKey) -> SigningKeyPair:
    def sign_message(message: bytes) -> bytes:
        return pair.sign(message).signature

    return SigningKeyPair(bytes(pair.verify_key), sign_message)
