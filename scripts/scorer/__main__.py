"""`scripts/train-scorer DATA_DIR`: makes the committed weights again, or compares; `--tier 2`: heads."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from ccn import errors
from ccn.encoder import model as encoder
from ccn.node.character import scorers
from scripts.scorer import corpus, embedded, training
from scripts.scorer.corpus import Sample

VERSION = "tier-1/v1"
WEIGHTS = Path(__file__).parents[2] / "ccn/core/character/scoring/tier-1-v1.weights"
ABOUT = {
    "messages": "GCAD Persona Steering, produced with persona_vectors by safety-research; Apache-2.0",
    "statements": "anthropics/evals, Perez et al. 2022; CC BY 4.0",
}


def main() -> None:
    """Train, then write or compare."""
    asked = _arguments()
    samples = corpus.load(asked.data)
    try:
        content = _of_tier_2(samples, asked.model) if asked.tier == 2 else _of_tier_1(samples)
    except errors.ScorerUnusable as refused:
        sys.exit(str(refused))
    out = asked.out or (scorers.heads_path(asked.model) if asked.tier == 2 else WEIGHTS)
    digest = hashlib.sha256(content).hexdigest()
    if not asked.check:
        out.write_bytes(content)
        print(f"{out.name}: {len(content)} bytes, sha256 {digest}")
    elif content != out.read_bytes():
        sys.exit(f"training makes other weights than {out.name}: {digest}")


def _of_tier_1(samples: Sequence[Sample]) -> bytes:
    seen = training.see(samples)
    return training.pack(VERSION, training.fit(seen), seen, ABOUT)


def _of_tier_2(samples: Sequence[Sample], model: Path) -> bytes:
    opened = encoder.open_encoder(model)
    return embedded.pack(embedded.see(samples, opened), opened, ABOUT)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/train-scorer", description=__doc__)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--tier", type=int, choices=(1, 2), default=1, help="which scorer (default 1)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="for tier 2: the encoder's folder")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it would be different")
    parser.add_argument("--out", type=Path, help="where to write instead, or what to compare with")
    asked = parser.parse_args()
    if (asked.tier == 2) != (asked.model is not None):
        parser.error("--tier 2 and --model DIR belong together")
    return asked


if __name__ == "__main__":
    main()
