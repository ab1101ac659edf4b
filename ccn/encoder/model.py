"""A sentence encoder such as MiniLM, run by onnxruntime: from a text to a vector of norm one.

Separate because onnxruntime belongs to an extra, `ccn[tier2]`, and is imported when somebody wants it. The
folder is what people download for such a model: `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json` or
`vocab.txt`. An encoder is known by the hash of these files. One thread computes: scoring
does not take the machine from those who talk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ccn import errors
from ccn.core.character.scoring import wordpiece
from ccn.core.character.scoring.wordpiece import Vocabulary

MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
LIST = "vocab.txt"
INSTALL = "install it with: pip install 'ccn[tier2]'"

Floats = npt.NDArray[np.float64]

_KNOWN = ("input_ids", "attention_mask", "token_type_ids")
_CHUNK = 1 << 20


class InferenceSession(Protocol):
    """The part of onnxruntime's session that is used here."""

    def run(self, names: Sequence[str], given: dict[str, npt.NDArray[np.int64]]) -> Sequence[Any]:
        """The outputs of these names."""
        ...


class OnnxEncoder:
    """One model with its vocabulary."""

    def __init__(
        self,
        session: InferenceSession,
        inputs: Sequence[str],
        output: str,
        vocabulary: Vocabulary,
        sha256: str,
    ) -> None:
        self._session, self._inputs, self._output, self._vocabulary = session, inputs, output, vocabulary
        self.sha256 = sha256

    def embed_text(self, text: str) -> Floats:
        """Embed a text as the mean vector of its pieces, scaled to length one."""
        numbers = wordpiece.encode_text(self._vocabulary, text)
        every = np.array([numbers], dtype=np.int64)
        given = {"input_ids": every, "attention_mask": np.ones_like(every)}
        given["token_type_ids"] = np.zeros_like(every)
        with _translate_errors("the model refused a text"):
            (hidden,) = self._session.run([self._output], {name: given[name] for name in self._inputs})
        mean = np.asarray(hidden[0], dtype=np.float64).mean(axis=0)
        norm = float(np.linalg.norm(mean))
        if not np.isfinite(norm) or norm == 0:
            raise errors.ScorerUnusable("the model's vector of a text has no direction")
        return np.asarray(mean / norm)


def open_encoder(folder: Path) -> OnnxEncoder:
    """Open the encoder in a folder, or say what is missing there."""
    model, tokenizer = _find_model(folder), _find_tokenizer(folder)
    try:
        content = tokenizer.read_text(encoding="utf-8")
        vocabulary = (
            wordpiece.vocabulary_from_json
            if tokenizer.name == TOKENIZER
            else wordpiece.vocabulary_from_list
        )(content)
        sha256 = _hash_files([*sorted(model.parent.glob(f"{MODEL}*")), tokenizer])
    except (OSError, UnicodeDecodeError, errors.InputInvalid) as refused:
        raise errors.ScorerUnusable(f"{tokenizer} cannot be used: {refused}") from refused
    session = _open_session(model)
    return OnnxEncoder(
        session, _input_names(session, model), _output_name(session, model), vocabulary, sha256
    )


def _find_model(folder: Path) -> Path:
    if not folder.is_dir():
        raise errors.ScorerUnusable(f"{folder} is no folder; tier 2 needs one with {MODEL}")
    for file in (folder / MODEL, folder / "onnx" / MODEL):
        if file.is_file():
            return file
    raise errors.ScorerUnusable(f"{folder} has no {MODEL}")


def _find_tokenizer(folder: Path) -> Path:
    for file in (folder / TOKENIZER, folder / LIST):
        if file.is_file():
            return file
    raise errors.ScorerUnusable(f"{folder} has no {TOKENIZER} and no {LIST}")


def _hash_files(files: Sequence[Path]) -> str:
    """Of the names and contents; a model may keep its numbers in a second file beside it."""
    whole = hashlib.sha256()
    for file in files:
        each = hashlib.sha256()
        with file.open("rb") as opened_:
            while chunk := opened_.read(_CHUNK):
                each.update(chunk)
        whole.update(f"{file.name} {each.hexdigest()}\n".encode())
    return whole.hexdigest()


def _open_session(model: Path) -> Any:
    try:
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
    except ImportError as missing:
        raise errors.ScorerUnusable(f"tier 2 needs onnxruntime, which is not here; {INSTALL}") from missing
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = chosen.inter_op_num_threads = 1
    chosen.enable_cpu_mem_arena = False  # texts differ in length, and an arena keeps room for the longest
    chosen.log_severity_level = 4
    with _translate_errors(f"{model} cannot be loaded"):
        return onnxruntime.InferenceSession(str(model), chosen, providers=["CPUExecutionProvider"])


def _input_names(session: Any, model: Path) -> list[str]:
    names = [each.name for each in session.get_inputs()]
    if "input_ids" not in names or not set(names) <= set(_KNOWN):
        raise errors.ScorerUnusable(f"{model} asks for {', '.join(names)}, and not for {', '.join(_KNOWN)}")
    return names


def _output_name(session: Any, model: Path) -> str:
    """The first output with a vector for each piece."""
    for each in session.get_outputs():
        if len(each.shape) == 3:
            return str(each.name)
    raise errors.ScorerUnusable(f"{model} has no output with a vector for each piece of a text")


@contextmanager
def _translate_errors(what: str) -> Iterator[None]:
    """onnxruntime's errors share no base class, so all that its own module defines count."""
    try:
        yield
    except Exception as refused:
        if not type(refused).__module__.startswith("onnxruntime."):
            raise
        raise errors.ScorerUnusable(f"{what}: {refused}") from refused
