"""Names tell what a thing is: a class has its name for itself, and a function is no participle."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from scripts import texture

PARTICIPLES: Mapping[str, str] = {}
"""Functions that may be called by a participle, as `path:name`, and why. This list only shrinks."""
LARGEST_FOLDER = 16
"""So many files a reader takes in at once."""


def test_a_class_name_occurs_once(root: Path) -> None:
    names = Counter(
        node.name
        for file in texture.python_files(root / "ccn")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert {name: count for name, count in names.items() if count > 1} == {}


def test_a_participle_names_a_value_and_no_function(root: Path) -> None:
    found = {
        f"{file.relative_to(root)}:{function.name}"
        for file in texture.python_files(root / "ccn")
        for function in texture.functions_of(ast.parse(file.read_text()))
        if texture.is_participle(function.name) and not texture.is_property(function)
    }
    assert found == PARTICIPLES.keys()


def test_no_folder_holds_more_files_than_a_reader_takes_in(root: Path) -> None:
    files = [*texture.python_files(root / "ccn"), *texture.python_files(root / "tests")]
    sizes = Counter(str(file.parent.relative_to(root)) for file in files)
    assert {folder: size for folder, size in sizes.items() if size > LARGEST_FOLDER} == {}


def test_a_participle_is_told_from_a_verb() -> None:
    for participle in ("told", "_shown", "reading", "kept", "_asked", "sealed"):
        assert texture.is_participle(participle)
    for verb in ("seed", "bring", "load_block", "_read", "owned_conversation", "run", "need"):
        assert not texture.is_participle(verb)
