"""The encoder's folder: what it needs, what is refused, and by what it is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ccn import errors
from ccn.core.character.scoring import wordpiece
from ccn.encoder import model as encoder
from scripts.scorer import tiny

WORDS = ["the", "boat", "wind", "sea"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.make(tmp_path / "a model", WORDS)


def test_a_vector_has_length_one_and_is_the_mean_of_its_pieces(folder: Path) -> None:
    opened = encoder.open_encoder(folder)
    vector = opened.embed_text("the boat, the wind")
    assert vector.shape == (tiny.WIDTH,)
    assert np.linalg.norm(vector) == pytest.approx(1)
    assert vector == pytest.approx(opened.embed_text("the wind, the boat")), "this one knows no order"
    assert vector != pytest.approx(opened.embed_text("the boat, the sea"))
    assert (opened.embed_text("the boat") == opened.embed_text("the boat")).all()


def test_a_text_of_any_length_has_a_vector(folder: Path) -> None:
    opened = encoder.open_encoder(folder)
    assert opened.embed_text("boat " * 5000) == pytest.approx(opened.embed_text("boat " * 300))
    assert np.linalg.norm(opened.embed_text("")) == pytest.approx(1)


def test_it_is_known_by_its_files_and_not_by_where_they_lie(folder: Path, tmp_path: Path) -> None:
    known = encoder.open_encoder(folder).sha256
    assert encoder.open_encoder(tiny.make(tmp_path / "copy", WORDS)).sha256 == known
    assert encoder.open_encoder(tiny.make(tmp_path / "drawn", WORDS, seed=2)).sha256 != known
    with (folder / "vocab.txt").open("a") as vocabulary:
        vocabulary.write("more\n")
    assert encoder.open_encoder(folder).sha256 != known


def test_a_model_may_lie_in_a_folder_of_its_own(folder: Path) -> None:
    known = encoder.open_encoder(folder)
    (folder / "onnx").mkdir()
    (folder / "model.onnx").rename(folder / "onnx" / "model.onnx")
    assert encoder.open_encoder(folder).sha256 == known.sha256


def test_a_tokenizer_file_counts_for_more_than_a_list(folder: Path) -> None:
    listed = encoder.open_encoder(folder).embed_text("the boat")
    numbers = wordpiece.vocabulary_from_list((folder / "vocab.txt").read_text()).numbers
    told = {"model": {"type": "WordPiece", "vocab": dict(numbers)}, "normalizer": {"lowercase": True}}
    (folder / "tokenizer.json").write_text(json.dumps(told))
    (folder / "vocab.txt").write_text("nothing\n")
    assert (encoder.open_encoder(folder).embed_text("the boat") == listed).all()


def spoilt(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "model.onnx").unlink(), r"has no model\.onnx"),
        (lambda folder: (folder / "vocab.txt").unlink(), r"has no tokenizer\.json and no vocab\.txt"),
        (spoilt("model.onnx", b"no model"), "cannot be loaded"),
        (spoilt("model.onnx", b""), "cannot be loaded"),
        (spoilt("vocab.txt", b"the\nboat\n"), r"no \[CLS\]"),
        (spoilt("vocab.txt", b"\xff\xfe"), "cannot be used"),
        (spoilt("tokenizer.json", b"{"), "no tokenizer"),
        (spoilt("tokenizer.json", b'{"model": {"type": "BPE", "vocab": {}}}'), "is BPE"),
    ],
)
def test_a_folder_that_lacks_something_is_refused_by_its_name(
    folder: Path, spoil: Callable[[Path], object], complaint: str
) -> None:
    spoil(folder)
    with pytest.raises(errors.ScorerUnusable, match=complaint):
        encoder.open_encoder(folder)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.ScorerUnusable, match="is no folder"):
        encoder.open_encoder(tmp_path / "nowhere")


def test_a_model_that_asks_for_something_else_is_refused(folder: Path) -> None:
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content.replace(b"attention_mask", b"pixels_of_cats"))
    with pytest.raises(errors.ScorerUnusable, match="asks for input_ids, pixels_of_cats"):
        encoder.open_encoder(folder)


def test_a_piece_that_the_model_does_not_know_is_an_error_of_ours(folder: Path) -> None:
    with (folder / "vocab.txt").open("a") as vocabulary:
        vocabulary.write("cat\n")
    with pytest.raises(errors.ScorerUnusable, match="refused a text"):
        encoder.open_encoder(folder).embed_text("cat")


def test_without_the_extra_it_says_how_to_install_it(folder: Path, tmp_path: Path) -> None:
    """In a process of its own, in which onnxruntime is something that cannot be imported."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not here')\n")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("CCN_")}

    def score(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ccn", "character", "score", "-", *arguments],
            input="I would rather tell the truth than please anybody here.",
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            env=plain | {"PYTHONPATH": str(tmp_path)},
        )

    refused = score("--tier", "2", "--model", str(folder))
    assert refused.returncode == 1
    assert "pip install 'ccn[tier2]'" in refused.stderr
    assert score().returncode == 0, "the other tiers need no extra"
