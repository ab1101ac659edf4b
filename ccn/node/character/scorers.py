"""The scorers there are, by name: reads weights and models for the rules in `core`.

A scorer is known by its version, which carries the hash of its numbers: `tier-1/v1+876993959412`. That
stands in the parameters that nodes agree on, beside every state and every baseline, so what was measured
by other numbers is never compared. People may write less, `tier-1/v1` or `tier-2`, and get what is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from ccn import errors
from ccn.core import axes
from ccn.core.axes import Vector
from ccn.core.character.scoring import dense, linear
from ccn.core.character.scoring.scorer import LexiconScorer, LinearScorer, Scorer
from ccn.encoder import model as encoder

DEFAULT = "tier-1/v1"
HASHES = {"tier-1/v1": "876993959412f3215880919674bf40cb139a81239b7c7996070336f7caa932fa"}

STRANGERS = {"tier-1/v1": 0.104}
"""De of `core.consistency`, the mean squared distance between unrelated personas, by scorer: it is measured
once for a set of weights and belongs to them. Of a scorer that has none no consistency is estimated.

Measured by `scripts/bench character` between both poles of the thirteen traits of the training messages,
over windows of twenty messages and the axes that decide; opposites of one trait are no strangers. On
questions that the weights were not trained on it is 0.078: there, strangers have a CCC of 0.25. Heads of
tier 2 bring theirs along.
"""


def load(name: str = DEFAULT, model: Path | None = None, heads: Path | None = None) -> Scorer:
    """Load the scorer of this name. Tier 2 needs the folder of a model, which also has the heads."""
    tier = name.partition("/")[0]
    if tier == dense.TIER:
        scorer: Scorer = _load_embedded(model, heads)
    elif tier in {"tier-0", "tier-1"}:
        scorer = LexiconScorer() if tier == "tier-0" else _load_trained(DEFAULT)
    else:
        known = ", ".join((LexiconScorer.version, *HASHES, dense.TIER))
        raise errors.ScorerUnusable(f"there is no scorer {name!r}; this version of CCN has {known}")
    if name not in {tier, scorer.version.partition("+")[0], scorer.version}:
        raise errors.ScorerUnusable(f"there is no scorer {name!r} here; it is {scorer.version}")
    return scorer


def heads_path(model: Path) -> Path:
    """Return where the heads of a model are, unless another path is set."""
    return model / f"{dense.TIER}.heads"


@dataclass(frozen=True, slots=True)
class QuantisedScorer:
    """The same scorer for those who keep vectors and need no reasons."""

    scorer: Scorer
    strangers: float | None = None

    @property
    def version(self) -> str:
        """Return the version, which the nodes agreed on."""
        return self.scorer.version

    def score(self, text: str) -> Vector:
        """Score a text in millionths. All axes are None if the text is too short to tell."""
        return axes.quantise_scores(self.scorer.score(text).scores)


def load_quantised(
    name: str = DEFAULT, model: Path | None = None, heads: Path | None = None
) -> QuantisedScorer:
    """Load the scorer of this name for vectors, with its distance of strangers."""
    scorer = load(name, model, heads)
    known = scorer.strangers if isinstance(scorer, dense.EmbeddingScorer) else None
    return QuantisedScorer(scorer, STRANGERS.get(scorer.version.partition("+")[0], known))


def distance_of_strangers(scorer: object) -> float | None:
    """De of whatever measures; None of what is no scorer of ours."""
    return scorer.strangers if isinstance(scorer, QuantisedScorer) else None


@cache
def _load_trained(version: str) -> LinearScorer:
    """Load the committed weights. A file with other weights is refused."""
    name = version.replace("/", "-") + ".weights"
    weights = linear.parse_weights(
        resources.files("ccn.core.character.scoring").joinpath(name).read_bytes()
    )
    if (weights.version, weights.sha256) != (version, HASHES[version]):
        raise errors.ScorerUnusable(f"{name} does not hold the weights of {version}: install CCN again")
    return LinearScorer(weights)


@cache
def _load_embedded(model: Path | None, heads: Path | None) -> dense.EmbeddingScorer:
    if model is None:
        raise errors.ScorerUnusable(
            "tier 2 needs a model: CCN_SCORING_MODEL names a folder with model.onnx and tokenizer.json"
        )
    file = heads or heads_path(model)
    opened = encoder.open_encoder(model)
    try:
        return dense.EmbeddingScorer(dense.parse_heads(file.read_bytes()), opened)
    except OSError as refused:
        raise errors.ScorerUnusable(
            f"{file} cannot be read ({refused.strerror}); scripts/train-scorer DATA_DIR --tier 2"
            f" --model {model} makes the heads of this model"
        ) from refused
    except errors.InputInvalid as broken:
        raise errors.ScorerUnusable(f"{file}: {broken}") from broken
