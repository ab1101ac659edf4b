"""A sentence encoder so small that it is made on the spot: for tests, and for figures labelled as its own.

It has the shape of a real one (numbers of pieces in, a vector for each piece out) and no knowledge: its
numbers are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scripts.scorer.onnx import FLOAT, INT64, Graph

WIDTH = 32
_FRAME = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?;:'\"()-"


def make(folder: Path, words: Sequence[str], *, width: int = WIDTH, seed: int = 1) -> Path:
    """Write such a model into a folder. It knows these words, and all others letter by letter."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = dict.fromkeys([*_FRAME, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *words])
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    draw = np.random.default_rng(seed)
    table = draw.normal(size=(len(pieces), width)).astype(np.float32)
    mixing = (draw.normal(size=(width, width)) / np.sqrt(width)).astype(np.float32)
    (folder / "model.onnx").write_bytes(onnx(table, mixing))
    return folder


def onnx(table: npt.NDArray[np.float32], mixing: npt.NDArray[np.float32]) -> bytes:
    """Write the model: a row of the table for each piece, mixed, then tanh."""
    graph = Graph("tiny")
    pieces = graph.given("input_ids", INT64, ["one", "pieces"])
    graph.given("attention_mask", INT64, ["one", "pieces"])
    rows = graph.step("Gather", graph.kept("table", table), pieces)
    mixed = graph.step("MatMul", rows, graph.kept("mixing", mixing))
    bent = graph.step("Tanh", mixed, output="last_hidden_state")
    graph.answer(bent, FLOAT, ["one", "pieces", table.shape[1]])
    return graph.written()
