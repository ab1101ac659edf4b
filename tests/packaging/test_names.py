"""Names tell what a thing is: a class has its name for itself, and a function is no participle."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from scripts import texture

PARTICIPLES: Mapping[str, str] = {}
"""Functions that may be called by a participle, as `path:name`, and why. This list only shrinks."""
_LISTED = re.compile(r"^    ([a-z_]+(?:, [a-z_]+)*)  +\S", re.MULTILINE)
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


def test_a_package_that_lists_its_modules_lists_all_of_them(root: Path) -> None:
    """A list stands indented in the docstring, a module or several and what they are for on each line."""
    wrong = {}
    for package in (root / "ccn").rglob("__init__.py"):
        listed = {
            name
            for names in _LISTED.findall(ast.get_docstring(ast.parse(package.read_text())) or "")
            for name in names.split(", ")
        }
        folders = {file.parent.name for file in package.parent.glob("*/__init__.py")}
        modules = {file.stem for file in package.parent.glob("*.py")} - {"__init__", "__main__"}
        expected = folders if listed and listed <= folders else folders | modules
        if listed & expected and listed != expected:
            wrong[str(package.relative_to(root))] = listed ^ expected
    assert wrong == {}


def test_a_participle_is_told_from_a_verb() -> None:
    for participle in ("told", "_shown", "reading", "kept", "_asked", "sealed"):
        assert texture.is_participle(participle)
    for verb in ("seed", "bring", "load_block", "_read", "owned_conversation", "run", "need"):
        assert not texture.is_participle(verb)
