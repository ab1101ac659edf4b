"""Signed notes (c2sp.org/signed-note): a text for people and machines, and the signatures below it.

    example.com/log
    42
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — example.com/log Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+…

Witnesses, monitors and the tools around them read this format. A key is known by its name and four bytes of
a hash, which only find it; trust comes from the list of keys the reader brings. Notes arrive from anywhere,
so reading is strict: what this module would not write it does not read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from ccn import errors
from ccn.core.ledger.signed import Check, Sign

NOTE_LIMIT = 64 * 1024
SIGNATURE_LIMIT = 100

_KEY_BYTES = 32
_ID_BYTES = 4
_ED25519_BYTES = 64
_TIME_BYTES = 8
_TIME_LIMIT = 1 << 63
_DASH = "\N{EM DASH}"


class KeyKind(IntEnum):
    """What a key signs: the text alone, or the text and when a witness saw it."""

    ED25519 = 1
    COSIGNATURE = 4


@dataclass(frozen=True, slots=True)
class Signature:
    """One line below a note: whose it claims to be, and the bytes."""

    name: str
    key_id: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text, which ends in a newline, and its signatures; nothing here was checked."""

    text: str
    signatures: tuple[Signature, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a text whose end could not be found again."""
        if not self.text.endswith("\n"):
            raise errors.InputInvalid("the text of a note ends in a newline")

    def to_bytes(self) -> bytes:
        """As it is served and kept."""
        return "".join((self.text, "\n", *map(signature_to_line, self.signatures))).encode()


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key under the name it signs notes with, and what kind of signature it makes."""

    name: str
    kind: KeyKind
    public: bytes

    def __post_init__(self) -> None:
        """Refuse names that could not stand on a line, and keys of another length."""
        if not _is_name(self.name) or len(self.public) != _KEY_BYTES:
            raise errors.InputInvalid(
                f"{self.name!r} with {len(self.public)} bytes is not the key of a note"
            )

    @property
    def id(self) -> bytes:
        """Four bytes that tell this key from others of the same name."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._typed_bytes()).digest()[:_ID_BYTES]

    def _typed_bytes(self) -> bytes:
        return bytes([self.kind]) + self.public


def verify_note(note: Note, keys: Sequence[NoteKey], check: Check) -> dict[NoteKey, int | None]:
    """The known keys that signed this text, and when, where they say so; unknown signatures count nothing.

    A wrong signature under a known key condemns the whole note: somebody tampered with it.
    """
    known = {(key.name, key.id): key for key in keys}
    if len(known) != len(set(keys)):
        raise errors.InputInvalid("two keys share a name and an id")
    times = dict[NoteKey, int | None]()
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is not None:
            times[key] = _verify_signature(note.text, signature, key, check)
    return times


def cosign_note(text: str, key: NoteKey, at_s: int, sign: Sign) -> Signature:
    """Sign a text and the second in which it was seen (c2sp.org/tlog-cosignature)."""
    if key.kind is not KeyKind.COSIGNATURE or not 0 <= at_s < _TIME_LIMIT:
        raise errors.InputInvalid(f"{key.name} cannot cosign at {at_s}")
    return Signature(
        key.name, key.id, at_s.to_bytes(_TIME_BYTES, "big") + sign(cosignature_bytes(text, at_s))
    )


def parse_note(data: bytes) -> Note:
    """Read a note from anywhere, or say what is wrong with it."""
    if len(data) > NOTE_LIMIT:
        raise errors.InputInvalid(f"a note of {len(data)} bytes is over the limit of {NOTE_LIMIT}")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise errors.InputInvalid("the note is not UTF-8") from None
    if any(character < " " and character != "\n" for character in whole):
        raise errors.InputInvalid("the note contains a control character")
    text, blank, below = whole.rpartition("\n\n")
    lines = below.split("\n")
    if not blank or lines.pop() or not 0 < len(lines) <= SIGNATURE_LIMIT:
        raise errors.InputInvalid("a note is a text, an empty line and 1 to 100 lines of signatures")
    return Note(text + "\n", tuple(map(_signature_from_line, lines)))


def _verify_signature(text: str, signature: Signature, key: NoteKey, check: Check) -> int | None:
    at_s, message, data = None, text.encode(), signature.data
    if key.kind is KeyKind.COSIGNATURE:
        at_s, data = int.from_bytes(data[:_TIME_BYTES], "big"), data[_TIME_BYTES:]
        message = cosignature_bytes(text, at_s)
    if (
        len(data) != _ED25519_BYTES
        or (at_s is not None and at_s >= _TIME_LIMIT)
        or not check(key.public, message, data)
    ):
        raise errors.SignatureInvalid(f"{key.name} did not sign this note")
    return at_s


def cosignature_bytes(text: str, at_s: int) -> bytes:
    """What a cosignature signs: the text, and the second in which it was seen."""
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


def signature_to_line(signature: Signature) -> str:
    """Write a signature as the line that stands below a note."""
    blob = base64.b64encode(signature.key_id + signature.data).decode()
    return f"{_DASH} {signature.name} {blob}\n"


def _signature_from_line(line: str) -> Signature:
    dash, name, blob = ([*line.split(" "), "", "", ""])[:3]
    data = _decode_base64(blob)
    read = Signature(name, data[:_ID_BYTES], data[_ID_BYTES:])
    if dash != _DASH or not _is_name(name) or not read.data or signature_to_line(read) != line + "\n":
        raise errors.InputInvalid(f"{line[:80]!r} is not the signature of a note")
    return read


def _decode_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise errors.InputInvalid(f"{text[:80]!r} is not base64") from None
    if not data or base64.b64encode(data).decode() != text:
        raise errors.InputInvalid(f"{text[:80]!r} is not the one way to write these bytes in base64")
    return data


def _is_name(text: str) -> bool:
    return bool(text) and "+" not in text and not any(c.isspace() or c < " " for c in text)
