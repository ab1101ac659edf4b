"""The tree is the first thing a newcomer reads, so nothing lies in it that nobody gave a place."""

from __future__ import annotations

import os
import re
from pathlib import Path

TOP = {"pyproject.toml", "ccn", "proto", "schema", "tests", "deploy", "scripts", "README.md", "LICENSE"}

# Pins and documents name packages, never where they were fetched from, nor folders of one machine.
FETCHED_FROM = re.compile(
    r"\b(?:[\w-]+\.)*(?:pypi|pythonhosted|npmjs)\.(?:org|com|io)\b|\b(?:deb|ftp|security|snapshot)\.debian\."
    r"|--(?:extra-)?index-url[ =]\S*//|--find-links"
)
MADE_ON = re.compile(
    r"(?<![\w.~$}{*-])/(?:home|Users|root|work|builds?|workspace|opt/hostedtoolcache)/[\w.-]+/"
)
MAY_SPEAK_OF_IT = {"scripts/pin", "tests/packaging/test_tree.py"}


def test_the_top_level_holds_only_what_the_design_names(tracked: list[str]) -> None:
    tops = {name.split("/")[0] for name in tracked}
    assert {top for top in tops - TOP if not top.startswith(".")} == set()


def test_no_file_names_a_package_index_or_a_folder_of_the_machine_it_was_made_on(
    tracked: list[str], root: Path
) -> None:
    found = []
    for name in tracked:
        if name in MAY_SPEAK_OF_IT or not (root / name).is_file():
            continue
        text = (root / name).read_bytes().decode(errors="replace")
        found += [f"{name}: {hit[0]}" for hit in (*FETCHED_FROM.finditer(text), *MADE_ON.finditer(text))]
    assert found == []


def test_every_script_can_be_executed(tracked: list[str], root: Path) -> None:
    scripts = [n for n in tracked if re.fullmatch(r"(scripts|\.ci)/[\w-]+", n)]
    assert [name for name in scripts if not os.access(root / name, os.X_OK)] == []
    assert {"scripts/bootstrap", "scripts/check", "scripts/test", ".ci/run"} <= set(scripts)
