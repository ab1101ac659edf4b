"""What deploy/compose/setup.py makes: all of it once, to each service its own, and nothing more."""

from __future__ import annotations

import importlib.util
import os
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "deploy" / "compose" / "setup.py"
NOW = datetime.now(UTC)


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    described = importlib.util.spec_from_file_location("compose_setup", FILE)
    assert described is not None
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    for user in ("UID_POSTGRES", "UID_REDIS", "UID_PROXY", "UID_MONITORING"):
        monkeypatch.setenv(user, str(os.getuid()))
    return module


def make(setup: ModuleType, base: Path) -> dict[str, bytes]:
    """Make all; the files by their names."""
    for folder, _ in setup.list_owners():
        (base / folder).mkdir(parents=True, exist_ok=True)
    (base / "authority").mkdir(exist_ok=True)
    setup.make_credentials(base, NOW, base / ".env", give=lambda folder, user: None)
    return {str(file.relative_to(base)): file.read_bytes() for file in base.rglob("*") if file.is_file()}


def test_a_second_run_changes_nothing(setup: ModuleType, tmp_path: Path) -> None:
    assert make(setup, tmp_path) == make(setup, tmp_path)


def test_each_gets_its_own_and_no_key_of_another(setup: ModuleType, tmp_path: Path) -> None:
    made = make(setup, tmp_path)
    keys = {name: content for name, content in made.items() if name.endswith(".key")}
    assert len(set(keys.values())) == len(keys)
    assert [name for name in made if name.endswith("ca.key")] == ["authority/ca/ca.key"]
    owner = made["postgres/owner.password"]
    assert {name.split("/")[0] for name, content in made.items() if owner in content} == {
        "authority",
        "postgres",
        "operator",
    }


def test_a_key_of_the_model_goes_to_the_nodes_alone(setup: ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# a remark\nCCN_PORT=7743\nexport ANTHROPIC_API_KEY='key-of-mine'\n")
    made = make(setup, tmp_path)
    having = {name for name, content in made.items() if b"key-of-mine" in content}
    assert having == {".env", *(f"{node}/model.toml" for node in setup.NODES)}
    assert b'base_url = "https://api.anthropic.com"\nstand_in = false' in made["gateway/model.toml"]


def test_without_a_key_the_stand_in_speaks_and_people_are_told(setup: ModuleType, tmp_path: Path) -> None:
    assert (
        b'base_url = "http://stand-in:7790"\nstand_in = true' in make(setup, tmp_path)["node-1/model.toml"]
    )


def test_a_value_that_would_end_its_line_is_refused(setup: ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('CCN_CLAUDE_API_KEY=a"b\n')
    with pytest.raises(SystemExit, match="quotes, backslashes or control characters"):
        make(setup, tmp_path)


def test_the_password_of_the_admin_is_shown_once(setup: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "admin.password").write_text("long and secret")
    assert "long and secret" in setup.show_admin(tmp_path)
    assert "was shown before" in setup.show_admin(tmp_path)
