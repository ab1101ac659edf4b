"""Tier 2 from end to end on an encoder made on the spot: trained, tested, explained, and bound to it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ccn import errors
from ccn.core.axes import AXES
from ccn.core.character.scoring import dense
from ccn.core.character.scoring.dense import EmbeddingScorer, Floats
from ccn.encoder import model as encoder
from ccn.node.character import scorers
from scripts.scorer import embedded, judging, tiny
from scripts.scorer.corpus import MESSAGES, STATEMENTS, Sample
from tests.support.core.heads import untrained

WORDS = ["sea", "boat", "wind", "harbour", "rope", "light", "coat", "table", "letter", "garden", "bread"]
POLES = {True: ["splendid", "laughing", "marvellous"], False: ["dreary", "grumbling", "wretched"]}
PLAYFULNESS = AXES.index("playfulness")


def said(dice: random.Random, *, shown: bool, sentences: int) -> str:
    def sentence() -> str:
        return " ".join([*dice.sample(WORDS, 6), dice.choice(POLES[shown])]).capitalize() + "."

    return " ".join(sentence() for _ in range(sentences))


def corpus(each: int = 80) -> list[Sample]:
    """Messages and statements of made-up words, for tasks that together speak for all axes."""
    dice = random.Random(1)
    return [
        Sample(task, shown, said(dice, shown=shown, sentences=3 if task in MESSAGES else 1), "q", 0, 50.0)
        for task in (*MESSAGES, *STATEMENTS)
        for _ in range(each)
        for shown in (True, False)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, with a blank in its name, of an encoder and the heads trained for it."""
    folder = tmp_path_factory.mktemp("a tiny model")
    tiny.make(folder, [*WORDS, *POLES[True], *POLES[False]])
    opened = encoder.open_encoder(folder)
    scorers.heads_path(folder).write_bytes(
        embedded.pack(embedded.see(corpus(), opened), opened, {"by": "us"})
    )
    return folder


def test_it_tells_apart_what_it_was_not_trained_on(model: Path) -> None:
    scorer = scorers.load("tier-2", model)
    dice = random.Random(2)
    shown = np.arange(200) % 2 == 0
    texts = [said(dice, shown=bool(each), sentences=3) for each in shown]
    scores = np.array([scorer.score(text).scores[PLAYFULNESS] for text in texts], dtype=np.float64)
    assert judging.area(scores, shown) > 0.95
    assert ((scores >= 0) & (scores <= 1)).all()


def test_what_speaks_for_an_axis_in_messages_may_speak_against_it_in_statements(model: Path) -> None:
    """As in `corpus`, where splendid is what the optimistic say and what those say who see no meaning."""
    scorer, dice = scorers.load("tier-2", model), random.Random(5)

    def score(*, shown: bool, sentences: int) -> float:
        value = scorer.score(said(dice, shown=shown, sentences=sentences)).scores[AXES.index("optimism")]
        assert value is not None
        return value

    assert score(shown=True, sentences=3) > 0.5 > score(shown=False, sentences=3)
    assert score(shown=True, sentences=1) < 0.5 < score(shown=False, sentences=1)


def test_training_twice_makes_the_same_heads(model: Path) -> None:
    opened, few = encoder.open_encoder(model), corpus(each=10)
    first, again = [embedded.pack(embedded.see(few, opened), opened, {"by": "us"}) for _ in range(2)]
    assert again == first


def test_its_version_names_the_encoder_and_the_heads(model: Path, tmp_path: Path) -> None:
    scorer, heads = scorers.load("tier-2", model), dense.parse_heads(scorers.heads_path(model).read_bytes())
    sha256 = encoder.open_encoder(model).sha256
    assert heads.encoder == sha256
    assert scorer.version == heads.version == f"tier-2/{sha256[:12]}+{heads.sha256[:12]}"
    assert scorers.load(scorer.version, model).version == scorer.version
    other = tmp_path / "other.heads"
    other.write_bytes(untrained(encoder.open_encoder(model)))
    assert scorers.load("tier-2", model, other).version.startswith(f"tier-2/{sha256[:12]}+")
    with pytest.raises(errors.ScorerUnusable, match="there is no scorer"):
        scorers.load(scorer.version, model, other)


def test_it_knows_how_far_apart_strangers_are(model: Path) -> None:
    measure = scorers.load_quantised("tier-2", model)
    assert measure.strangers is not None
    assert 0 < measure.strangers < 1
    assert scorers.distance_of_strangers(measure) == measure.strangers


@pytest.mark.parametrize(
    "text", ["", "Too few words.", "```python\nfor each in everything: print(each)\n```", "1 2 3 4 5 6 7"]
)
def test_of_nothing_it_says_nothing_as_the_others(model: Path, text: str) -> None:
    scorer = scorers.load("tier-2", model)
    assert scorer.score(text) == scorers.load("tier-1/v1").score(text)
    assert scorer.explain(text) == []


def test_capitals_blanks_and_code_change_nothing(model: Path) -> None:
    scorer = scorers.load("tier-2", model)
    text = "The splendid boat lies in the harbour. We laughed at it, and wrote a letter."
    same = [text.upper(), f"  {text}\n", text.replace(" ", "  "), f"{text}\n```\nx = call(y)\n```"]
    assert [scorer.score(each) for each in same] == [scorer.score(text)] * len(same)


def test_the_word_that_moved_an_axis_most_is_named(model: Path) -> None:
    scorer = scorers.load("tier-2", model)
    moved = [
        each for each in scorer.explain("sea boat wind splendid rope light") if each.axis == "playfulness"
    ]
    assert {each.feature for each in moved} == {"sea", "boat", "wind", "splendid", "rope", "light"}
    assert moved[0].feature == "splendid"
    assert moved[0].by > 0


def test_of_several_sentences_each_is_weighed(model: Path) -> None:
    text = "Sea boat wind splendid. Sea boat wind dreary."
    moved = [each for each in scorers.load("tier-2", model).explain(text) if each.axis == "playfulness"]
    by = {each.feature.split()[3]: each.by for each in moved}
    assert by["splendid"] > 0 > by["dreary"]


@pytest.mark.parametrize(
    "content", [b"", b"x", dense.MAGIC, dense.MAGIC + b"{}\n", dense.MAGIC + b"[]\nabc"]
)
def test_what_is_no_heads_file_is_refused(model: Path, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.heads"
    file.write_bytes(content)
    with pytest.raises(errors.ScorerUnusable, match="no file of scorer heads"):
        scorers.load("tier-2", model, file)


@dataclass(frozen=True)
class Wide:
    """An encoder that claims to be the one the heads were trained for."""

    sha256: str

    def embed_text(self, text: str) -> Floats:
        return np.full(7, 7**-0.5)


def test_heads_for_another_model_or_width_are_refused(model: Path, tmp_path: Path) -> None:
    other = tiny.make(tmp_path / "other", WORDS, seed=2)
    with pytest.raises(
        errors.ScorerUnusable, match=r"trained for the model \w{12}, and this one is \w{12}"
    ):
        scorers.load("tier-2", other, scorers.heads_path(model))
    heads = dense.parse_heads(scorers.heads_path(model).read_bytes())
    with pytest.raises(errors.ScorerUnusable, match="32 dimensions, not 7"):
        EmbeddingScorer(heads, Wide(heads.encoder))


def test_what_is_missing_is_said_with_what_to_do(model: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.ScorerUnusable, match="CCN_SCORING_MODEL"):
        scorers.load("tier-2")
    with pytest.raises(errors.ScorerUnusable, match=r"train-scorer DATA_DIR --tier 2 --model"):
        scorers.load("tier-2", tiny.make(tmp_path / "untrained", WORDS))
