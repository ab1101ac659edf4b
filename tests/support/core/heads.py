"""Heads of tier 2 that nobody trained, for tests in which only their file matters."""

from __future__ import annotations

import numpy as np

from ccn.core.axes import AXES
from ccn.core.character.scoring import dense
from ccn.encoder.model import OnnxEncoder


def untrained(encoder: OnnxEncoder, seed: int = 1) -> bytes:
    """Drawn at random, for this encoder."""
    width = len(encoder.embed_text("how wide is this"))
    draw, shape = np.random.default_rng(seed), (2, len(AXES))
    return dense.dump_heads(
        encoder=encoder.sha256,
        weights=draw.normal(size=(2, width, len(AXES))),
        middle=np.zeros(shape),
        spread=np.ones(shape),
        strangers=0.1,
        about={},
    )
