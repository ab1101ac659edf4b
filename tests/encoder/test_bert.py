"""The model that is written from weights computes what BERT computes, step for step."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ccn import errors
from ccn.core.character.scoring import wordpiece
from ccn.encoder import model as encoder
from scripts.scorer import bert

ROOT = Path(__file__).parents[2]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "boat", "wind", "sea", "##s", "."]
LAYERS, HEADS, WIDTH, WIDER, PLACES = 2, 3, 12, 20, 300
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "hidden_size": WIDTH,
    "layer_norm_eps": 1e-12,
}

Floats = npt.NDArray[np.float64]


@pytest.fixture
def weights() -> dict[str, Floats]:
    """Drawn at random, as single precision has them."""
    draw = np.random.default_rng(4)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(PIECES), WIDTH),
        "embeddings.position_embeddings.weight": (PLACES, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        linears = {f"attention.self.{each}": (WIDTH, WIDTH) for each in ("query", "key", "value")}
        linears |= {"attention.output.dense": (WIDTH, WIDTH)}
        linears |= {"intermediate.dense": (WIDER, WIDTH), "output.dense": (WIDTH, WIDER)}
        for name, size in linears.items():
            shapes |= {f"{at}.{name}.weight": size, f"{at}.{name}.bias": size[:1]}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{at}.{name}.weight": (WIDTH,), f"{at}.{name}.bias": (WIDTH,)}
    return {
        name: draw.normal(size=shape).astype(np.float32).astype(np.float64)
        for name, shape in shapes.items()
    }


@pytest.fixture
def folder(tmp_path: Path, weights: Mapping[str, Floats]) -> Path:
    """As such models are handed round."""
    origin = tmp_path / "as handed round"
    origin.mkdir()
    (origin / "config.json").write_text(json.dumps(CONFIG))
    (origin / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    (origin / "model.safetensors").write_bytes(stored(weights))
    return origin


def stored(weights: Mapping[str, Floats], prefix: str = "", dtype: str = "<f4") -> bytes:
    told: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, values in weights.items():
        raw = values.astype(dtype).tobytes()
        told[prefix + name] = {
            "dtype": {"<f4": "F32", "<f2": "F16"}[dtype],
            "shape": list(values.shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    header = json.dumps(told).encode()
    return len(header).to_bytes(8, "little") + header + body


def computed(weights: Mapping[str, Floats], numbers: list[int]) -> Floats:
    """A vector for each piece, by the book."""

    def normal(rows: Floats, name: str) -> Floats:
        apart = rows - rows.mean(axis=1, keepdims=True)
        spread = np.sqrt((apart**2).mean(axis=1, keepdims=True) + 1e-12)
        return np.asarray(apart / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"])

    def linear(rows: Floats, name: str) -> Floats:
        return np.asarray(rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])

    def attended(rows: Floats, name: str) -> Floats:
        query, key, value = (linear(rows, f"{name}.{each}") for each in ("query", "key", "value"))
        taken = []
        for head in range(HEADS):
            own = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
            shares = np.exp(query[:, own] @ key[:, own].T / math.sqrt(WIDTH / HEADS))
            taken.append(shares / shares.sum(axis=1, keepdims=True) @ value[:, own])
        return np.hstack(taken)

    rows = weights["embeddings.word_embeddings.weight"][numbers]
    rows = rows + weights["embeddings.position_embeddings.weight"][: len(numbers)]
    rows = normal(rows + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        seen = linear(attended(rows, f"{at}.attention.self"), f"{at}.attention.output.dense")
        rows = normal(seen + rows, f"{at}.attention.output.LayerNorm")
        inner = linear(rows, f"{at}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        rows = normal(linear(inner, f"{at}.output.dense") + rows, f"{at}.output.LayerNorm")
    return rows


@pytest.mark.parametrize("text", ["The boats.", "sea", "wind " * 400])
def test_a_text_has_the_vector_that_the_book_says(
    folder: Path, tmp_path: Path, weights: Mapping[str, Floats], text: str
) -> None:
    bert.make(folder, tmp_path / "made")
    opened = encoder.open_encoder(tmp_path / "made")
    numbers = wordpiece.encode_text(
        wordpiece.vocabulary_from_list((folder / "vocab.txt").read_text()), text
    )
    mean = computed(weights, numbers).mean(axis=0)
    assert opened.embed_text(text) == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_the_same_weights_make_the_same_file_wherever_they_lie(folder: Path, tmp_path: Path) -> None:
    first = bert.make(folder, tmp_path / "first").read_bytes()
    assert bert.make(folder, folder).read_bytes() == first
    assert encoder.open_encoder(folder).sha256 == encoder.open_encoder(tmp_path / "first").sha256


def test_names_with_a_prefix_and_half_precision_are_understood(weights: Mapping[str, Floats]) -> None:
    found = bert.numbers(stored(weights, prefix="bert.", dtype="<f2"))
    assert found.keys() == weights.keys()
    for name, values in weights.items():
        assert found[name] == pytest.approx(values, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"model_type": "roberta"}, "its model_type is roberta"),
        ({"hidden_act": "relu"}, "its hidden_act is relu"),
        ({"position_embedding_type": "relative_key"}, "its position_embedding_type"),
        ({"num_hidden_layers": LAYERS + 1}, r"the weights have no encoder\.layer\.2\."),
        ({"hidden_size": None}, "cannot be read"),
        ({"num_attention_heads": 5}, "not a multiple"),
    ],
)
def test_a_model_that_computes_something_else_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG | change))
    with pytest.raises(errors.InputInvalid, match=complaint):
        bert.make(folder, tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 40, b"\2\0\0\0\0\0\0\0[]", b'\7\0\0\0\0\0\0\0{"a":1}', stored({"a": np.ones(3)})[:-1]],
)
def test_what_is_no_safetensors_file_is_refused(content: bytes) -> None:
    with pytest.raises(errors.InputInvalid, match=r"model\.safetensors cannot be read"):
        bert.numbers(content)


def test_the_command_makes_a_folder_that_can_be_opened_and_says_what_is_wrong(
    folder: Path, tmp_path: Path
) -> None:
    def command(origin: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "scripts/encoder-onnx", origin, tmp_path / "made"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    done = command(folder)
    assert done.returncode == 0, done.stderr
    assert len(encoder.open_encoder(tmp_path / "made").embed_text("the sea")) == WIDTH
    (folder / "model.safetensors").unlink()
    refused = command(folder)
    assert refused.returncode == 1
    assert "model.safetensors" in refused.stderr
