"""Which scorer a node takes: by name from its settings, whole with its hash in what nodes agree on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccn import errors, settings
from ccn.core.chain.rules import Parameters
from ccn.encoder import model as encoder
from ccn.node.character import scorers
from ccn.service import served_node
from scripts.scorer import tiny
from tests.support.core.heads import untrained


def chosen(scorer: str, model: Path | None = None) -> settings.Settings:
    groups = {
        "cluster": settings.ClusterSettings(scorer=scorer),
        "scoring": settings.ScoringSettings(model=model),
    }
    return settings.Settings().model_copy(update=groups)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tiny.make(tmp_path / "a model", ["truth", "boat"])
    scorers.heads_path(folder).write_bytes(untrained(encoder.open_encoder(folder)))
    return folder


@pytest.mark.parametrize("name", ["tier-1", "tier-1/v1"])
def test_nodes_agree_on_the_hash_of_the_weights_too(name: str) -> None:
    version = served_node.with_scorer_version(chosen(name)).cluster.scorer
    assert version == scorers.load().version
    assert Parameters(version).body() != Parameters("tier-1/v1").body()
    assert served_node.with_scorer_version(chosen(version)).cluster.scorer == version


def test_nodes_agree_on_the_encoder_and_the_heads(model: Path) -> None:
    version = served_node.with_scorer_version(chosen("tier-2", model)).cluster.scorer
    assert version == scorers.load("tier-2", model).version
    assert len(version) == len("tier-2/") + 12 + 1 + 12


def test_a_node_whose_scorer_cannot_be_had_does_not_start(model: Path) -> None:
    with pytest.raises(errors.SettingsInvalid, match="CCN_SCORING_MODEL"):
        served_node.with_scorer_version(chosen("tier-2"))
    with pytest.raises(errors.SettingsInvalid, match="here; it is tier-2/"):
        served_node.with_scorer_version(chosen("tier-2/0123456789ab+0123456789ab", model))
    with pytest.raises(errors.SettingsInvalid, match="there is no scorer"):
        served_node.with_scorer_version(chosen("tier-7"))
