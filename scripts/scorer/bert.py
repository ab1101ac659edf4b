"""`scripts/encoder-onnx FROM TO`: makes the ONNX file of a sentence encoder from its weights.

Many encoders are published as `model.safetensors` with a `config.json`, and onnxruntime reads neither. What
the family of BERT computes fits on a page, so no framework is needed to write it. The model made
here takes texts without padding, as `ccn.encoder` gives them.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ccn import errors
from ccn.encoder.model import LIST, MODEL, TOKENIZER
from scripts.scorer.onnx import FLOAT, INT64, Graph

WEIGHTS, CONFIG = "model.safetensors", "config.json"

Floats = npt.NDArray[np.float32]

_UNDERSTOOD = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
}
_DTYPES = {"F16": "<f2", "F32": "<f4"}
_PREFIX = "bert."  # of the names in files that hold more than the encoder


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the encoder."""

    layers: int
    heads: int
    width: int
    tiny: float  # keeps layer normalisation from dividing by zero


def main() -> None:
    """Read one folder and write the other."""
    parser = argparse.ArgumentParser("scripts/encoder-onnx", description=__doc__)
    parser.add_argument(
        "origin", type=Path, metavar="FROM", help=f"has {CONFIG}, {WEIGHTS} and {TOKENIZER}"
    )
    parser.add_argument("to", type=Path, metavar="TO", help=f"gets {MODEL} and the tokenizer")
    asked = parser.parse_args()
    try:
        made = make(asked.origin, asked.to)
    except (errors.InputInvalid, OSError) as refused:
        sys.exit(f"{asked.origin}: {refused}")
    print(f"{made}: {made.stat().st_size} bytes")


def make(origin: Path, to: Path) -> Path:
    """Write the folder that `ccn.encoder` needs, from one with the weights."""
    content = onnx(shape(_configuration(origin / CONFIG)), numbers((origin / WEIGHTS).read_bytes()))
    to.mkdir(parents=True, exist_ok=True)
    for name in (TOKENIZER, LIST):
        if (origin / name).is_file() and origin.resolve() != to.resolve():
            shutil.copyfile(origin / name, to / name)
    (to / MODEL).write_bytes(content)
    return to / MODEL


def onnx(sizes: Shape, weights: Mapping[str, Floats]) -> bytes:
    """Write a model that turns the numbers of a text's pieces into a vector for each."""
    try:
        return _Encoder(sizes, weights).written()
    except KeyError as missing:
        raise errors.InputInvalid(f"the weights have no {missing.args[0]}") from missing


def _configuration(file: Path) -> Mapping[str, Any]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as broken:
        raise errors.InputInvalid(f"{CONFIG} cannot be read: {broken!r}") from broken
    if not isinstance(told, dict):
        raise errors.InputInvalid(f"{CONFIG} holds no configuration")
    return told


def shape(config: Mapping[str, Any]) -> Shape:
    """Read the sizes in a configuration. Refuse a model that computes something else."""
    for name, understood in _UNDERSTOOD.items():
        if (told := config.get(name, understood)) != understood:
            raise errors.InputInvalid(f"its {name} is {told}, and only {understood} is understood")
    try:
        sizes = Shape(
            layers=int(config["num_hidden_layers"]),
            heads=int(config["num_attention_heads"]),
            width=int(config["hidden_size"]),
            tiny=float(config.get("layer_norm_eps", 1e-12)),
        )
    except (ValueError, KeyError, TypeError) as broken:
        raise errors.InputInvalid(f"{CONFIG} cannot be read: {broken!r}") from broken
    if sizes.heads < 1 or sizes.width % sizes.heads:
        raise errors.InputInvalid(f"its width, {sizes.width}, is not a multiple of its {sizes.heads} heads")
    return sizes


def numbers(content: bytes) -> dict[str, Floats]:
    """Read the tensors of floating-point numbers in a safetensors file, by name."""
    begin = 8 + int.from_bytes(content[:8], "little")
    try:
        told = json.loads(content[8:begin])
        return {
            name.removeprefix(_PREFIX): _tensor(memoryview(content)[begin:], each)
            for name, each in told.items()
            if each.get("dtype") in _DTYPES
        }
    except (ValueError, KeyError, TypeError, AttributeError) as broken:
        raise errors.InputInvalid(f"{WEIGHTS} cannot be read: {broken!r}") from broken


def _tensor(body: memoryview, told: Mapping[str, Any]) -> Floats:
    first, last = told["data_offsets"]
    values = np.frombuffer(body[first:last], _DTYPES[told["dtype"]])
    return values.reshape(told["shape"]).astype(np.float32)


class _Encoder:
    """The graph while it is built, with a method for each part that occurs more than once."""

    def __init__(self, sizes: Shape, weights: Mapping[str, Floats]) -> None:
        self._sizes, self._weights, self._graph = sizes, weights, Graph("bert")

    def written(self) -> bytes:
        """Return the bytes of the file."""
        graph, rows = self._graph, self._embedded()
        for layer in range(self._sizes.layers):
            rows = self._layer(rows, f"encoder.layer.{layer}")
        graph.answer(
            graph.step("Identity", rows, output="last_hidden_state"),
            FLOAT,
            ["texts", "pieces", self._sizes.width],
        )
        return graph.written()

    def _embedded(self) -> str:
        """Add what a piece means by itself, and where it stands."""
        graph, at = self._graph, "embeddings"
        pieces = graph.given("input_ids", INT64, ["texts", "pieces"])
        places = self._weights[f"{at}.position_embeddings.weight"]
        places = places + self._weights[f"{at}.token_type_embeddings.weight"][0]
        ends = [graph.kept(name, np.array([value])) for name, value in (("from", 0), ("along", 0))]
        count = graph.step("Shape", pieces, start=1, end=2)
        standing = graph.step("Slice", graph.kept(f"{at}.places", places), ends[0], count, ends[1])
        meant = graph.step("Gather", self._kept(f"{at}.word_embeddings.weight"), pieces)
        return self._normal(graph.step("Add", meant, standing), f"{at}.LayerNorm")

    def _layer(self, rows: str, name: str) -> str:
        graph = self._graph
        seen = self._linear(
            self._attended(rows, f"{name}.attention.self"), f"{name}.attention.output.dense"
        )
        rows = self._normal(graph.step("Add", seen, rows), f"{name}.attention.output.LayerNorm")
        thought = graph.step("Gelu", self._linear(rows, f"{name}.intermediate.dense"))
        said = self._linear(thought, f"{name}.output.dense")
        return self._normal(graph.step("Add", said, rows), f"{name}.output.LayerNorm")

    def _attended(self, rows: str, name: str) -> str:
        """Add what each piece takes from the others."""
        graph, width = self._graph, self._sizes.width // self._sizes.heads
        query = self._heads(rows, f"{name}.query", 1 / math.sqrt(width), perm=(0, 2, 1, 3))
        key = self._heads(rows, f"{name}.key", 1.0, perm=(0, 2, 3, 1))
        value = self._heads(rows, f"{name}.value", 1.0, perm=(0, 2, 1, 3))
        shares = graph.step("Softmax", graph.step("MatMul", query, key), axis=-1)
        taken = graph.step("Transpose", graph.step("MatMul", shares, value), perm=(0, 2, 1, 3))
        return graph.step(
            "Reshape", taken, graph.kept(f"{name}.joined", np.array([0, 0, self._sizes.width]))
        )

    def _heads(self, rows: str, name: str, scale: float, perm: tuple[int, ...]) -> str:
        heads, width = self._sizes.heads, self._sizes.width // self._sizes.heads
        shape = self._graph.kept(f"{name}.apart", np.array([0, 0, heads, width]))
        apart = self._graph.step("Reshape", self._linear(rows, name, scale), shape)
        return self._graph.step("Transpose", apart, perm=perm)

    def _linear(self, rows: str, name: str, scale: float = 1.0) -> str:
        turned = (self._weights[f"{name}.weight"].T * scale).astype(np.float32)
        bias = (self._weights[f"{name}.bias"] * scale).astype(np.float32)
        product = self._graph.step("MatMul", rows, self._graph.kept(f"{name}.weight", turned))
        return self._graph.step("Add", product, self._graph.kept(f"{name}.bias", bias))

    def _normal(self, rows: str, name: str) -> str:
        by, beside = self._kept(f"{name}.weight"), self._kept(f"{name}.bias")
        return self._graph.step("LayerNormalization", rows, by, beside, epsilon=self._sizes.tiny)

    def _kept(self, name: str) -> str:
        return self._graph.kept(name, self._weights[name])


if __name__ == "__main__":
    main()
