"""Tier 2 beside the others: heads trained anew for each split on the encoder in `--model DIR`; its cost.

Separate from `character` because whoever measures brings the encoder along. Without one only the cost of a
tiny model of random numbers is told, labelled as such: that is what the way there costs, and nothing is
said of MiniLM.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ccn.core.axes import AXES
from ccn.core.character.scoring import dense
from ccn.core.character.scoring.dense import EmbeddingScorer, Floats, TextEncoder
from ccn.core.character.scoring.scorer import Scorer
from ccn.encoder import model as encoder
from scripts.benchmarks.harness import Figure, percentile
from scripts.scorer import embedded, tiny
from scripts.scorer.corpus import Sample

TIMED = 300  # texts


class Remembering:
    """An encoder that reads every text once, however many splits it is in."""

    def __init__(self, model: Path) -> None:
        self._encoder = encoder.open_encoder(model)
        self._known: dict[str, Floats] = {}

    @property
    def sha256(self) -> str:
        """Of the files."""
        return self._encoder.sha256

    def embed_text(self, text: str) -> Floats:
        """As the encoder does."""
        if text not in self._known:
            self._known[text] = self._encoder.embed_text(text)
        return self._known[text]


def trained(samples: Sequence[Sample], opened: TextEncoder) -> Scorer:
    """A scorer that has seen these."""
    heads = embedded.pack(embedded.see(samples, opened), opened, {})
    return EmbeddingScorer(dense.parse_heads(heads), opened)


def cost(samples: Sequence[Sample], model: Path | None) -> list[Figure]:
    """Latency and memory of the encoder, whose part all but a few microseconds is."""
    if model is not None:
        return _cost("tier-2", model, samples)
    with tempfile.TemporaryDirectory(prefix="ccn tiny model ") as folder:
        words = sorted({word for sample in samples[:TIMED] for word in sample.text.lower().split()})
        return _cost("tier-2 with a tiny model of random numbers", tiny.make(Path(folder), words), samples)


def _cost(name: str, model: Path, samples: Sequence[Sample]) -> list[Figure]:
    before = _resident()
    opened = encoder.open_encoder(model)
    texts = [sample.text for sample in samples[:TIMED]]
    scorer = EmbeddingScorer(dense.parse_heads(_zeros(opened)), opened)
    scorer.score(texts[0])
    held = (_resident() - before) / 1024**2
    took = [_timed(scorer, text) for text in texts]
    return [
        *(
            Figure(f"{name}, one message, p{percent}", "ms", percentile(took, percent), better="less")
            for percent in (50, 95)
        ),
        Figure(f"{name}, memory, onnxruntime included", "MiB", held, better="less"),
    ]


def _zeros(opened: TextEncoder) -> bytes:
    """Heads that know nothing and take as long as others."""
    width, shape = len(opened.embed_text("how wide is this")), (2, len(AXES))
    zeros = np.zeros((2, width, len(AXES)))
    return dense.dump_heads(
        encoder=opened.sha256,
        weights=zeros,
        middle=np.zeros(shape),
        spread=np.ones(shape),
        strangers=0.0,
        about={},
    )


def _resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _timed(scorer: Scorer, text: str) -> float:
    since = time.perf_counter()
    scorer.score(text)
    return (time.perf_counter() - since) * 1000
