"""An ONNX file, written byte by byte.

The file needs two dozen fields of a protobuf, and the library for it would be one more dependency.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

FLOAT, INT64 = 1, 7

_IR, _OPSET = 9, 20
_TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64}
_ONE_FLOAT, _ONE_INTEGER, _INTEGERS = 1, 2, 7  # kinds of attributes

Attribute = float | int | Sequence[int]
Shape = Sequence[str | int]


class Graph:
    """What a model computes, built step by step. Every step returns the name of its output."""

    def __init__(self, name: str) -> None:
        self._parts = [_text(2, name)]
        self._steps = 0

    def given(self, name: str, kind: int, shape: Shape) -> str:
        """Add an input."""
        self._parts.append(_part(11, _value(name, kind, shape)))
        return name

    def kept(self, name: str, values: npt.NDArray[np.float32] | npt.NDArray[np.int64]) -> str:
        """Add numbers that the model contains."""
        self._parts.append(_part(5, _tensor(name, values)))
        return name

    def step(self, operation: str, *inputs: str, output: str = "", **attributes: Attribute) -> str:
        """Add an operation on what is there."""
        self._steps += 1
        named = output or f"{operation} {self._steps}"
        self._parts.append(_part(1, _node(operation, inputs, named, attributes)))
        return named

    def answer(self, name: str, kind: int, shape: Shape) -> str:
        """Make the output of a step an output of the model."""
        self._parts.append(_part(12, _value(name, kind, shape)))
        return name

    def written(self) -> bytes:
        """Return the bytes of the file."""
        return b"".join([_number(1, _IR), _part(7, b"".join(self._parts)), _part(8, _number(2, _OPSET))])


def _node(operation: str, inputs: Sequence[str], output: str, attributes: Mapping[str, Attribute]) -> bytes:
    told = [_part(5, _attribute(name, value)) for name, value in attributes.items()]
    return b"".join([*(_text(1, name) for name in inputs), _text(2, output), _text(4, operation), *told])


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, float):
        return _text(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, _ONE_FLOAT)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, _ONE_INTEGER)
    return _text(1, name) + b"".join(_number(8, each) for each in value) + _number(20, _INTEGERS)


def _tensor(name: str, values: npt.NDArray[np.float32] | npt.NDArray[np.int64]) -> bytes:
    dims = [_number(1, size) for size in values.shape]
    raw = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return b"".join([*dims, _number(2, _TYPES[values.dtype]), _text(8, name), _part(9, raw)])


def _value(name: str, kind: int, shape: Shape) -> bytes:
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
    """Write seven bits a byte, the lowest first, and a negative number as its complement in 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
