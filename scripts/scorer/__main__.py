"""`scripts/train-scorer DATA_DIR`: makes the committed weights again, or compares."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from scripts.scorer import corpus, training

VERSION = "tier-1/v1"
WEIGHTS = Path(__file__).parents[2] / "ccn/core/scoring/tier-1-v1.weights"
ABOUT = {
    "messages": "GCAD Persona Steering, produced with persona_vectors by safety-research; Apache-2.0",
    "statements": "anthropics/evals, Perez et al. 2022; CC BY 4.0",
}


def main() -> None:
    """Train, then write or compare."""
    parser = argparse.ArgumentParser("scripts/train-scorer", description=__doc__)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it would be different")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where to write instead")
    asked = parser.parse_args()
    seen = training.see(corpus.load(asked.data))
    content = training.pack(VERSION, training.fit(seen), seen, ABOUT)
    digest = hashlib.sha256(content).hexdigest()
    if not asked.check:
        asked.out.write_bytes(content)
        print(f"{asked.out.name}: {len(content)} bytes, sha256 {digest}")
    elif content != asked.out.read_bytes():
        sys.exit(f"training makes other weights than {asked.out.name}: {digest}")


if __name__ == "__main__":
    main()
