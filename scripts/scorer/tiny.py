"""A sentence encoder so small that it is made on the spot: for tests, and for figures labelled as its own.

It has the shape of a real one (numbers of pieces in, a vector for each piece out) and no knowledge: its
numbers are drawn. The ONNX file is written byte by byte: it takes a dozen fields of a protobuf, and the
library for it would be one more dependency.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

WIDTH = 32
_FRAME = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?;:'\"()-"
_FLOAT, _INT64 = 1, 7
_IR, _OPSET = 8, 13


def make(folder: Path, words: Sequence[str], *, width: int = WIDTH, seed: int = 1) -> Path:
    """Write such a model into a folder: it knows these words, and all others letter by letter."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = dict.fromkeys([*_FRAME, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *words])
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    draw = np.random.default_rng(seed)
    table = draw.normal(size=(len(pieces), width)).astype("<f4")
    mixing = (draw.normal(size=(width, width)) / np.sqrt(width)).astype("<f4")
    (folder / "model.onnx").write_bytes(onnx(table, mixing))
    return folder


def onnx(table: npt.NDArray[np.float32], mixing: npt.NDArray[np.float32]) -> bytes:
    """A row of the table for each piece, mixed, and bent by tanh."""
    graph = [
        _part(1, _node("Gather", ["table", "input_ids"], "rows")),
        _part(1, _node("MatMul", ["rows", "mixing"], "mixed")),
        _part(1, _node("Tanh", ["mixed"], "last_hidden_state")),
        _text(2, "tiny"),
        _part(5, _tensor("table", table)),
        _part(5, _tensor("mixing", mixing)),
        _part(11, _value("input_ids", _INT64, ["one", "pieces"])),
        _part(11, _value("attention_mask", _INT64, ["one", "pieces"])),
        _part(12, _value("last_hidden_state", _FLOAT, ["one", "pieces", table.shape[1]])),
    ]
    return b"".join([_number(1, _IR), _part(7, b"".join(graph)), _part(8, _number(2, _OPSET))])


def _node(operation: str, inputs: Sequence[str], output: str) -> bytes:
    return b"".join([*(_text(1, name) for name in inputs), _text(2, output), _text(4, operation)])


def _tensor(name: str, values: npt.NDArray[np.float32]) -> bytes:
    dims = [_number(1, size) for size in values.shape]
    return b"".join([*dims, _number(2, _FLOAT), _text(8, name), _part(9, values.tobytes())])


def _value(name: str, kind: int, shape: Sequence[str | int]) -> bytes:
    dims = [_part(1, _text(2, size) if isinstance(size, str) else _number(1, size)) for size in shape]
    tensor = _number(1, kind) + _part(2, b"".join(dims))
    return _text(1, name) + _part(2, _part(1, tensor))


def _text(field: int, content: str) -> bytes:
    return _part(field, content.encode())


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
