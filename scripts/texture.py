"""Measures how the code reads: python -m scripts.texture [ROOT]. Prints one table, as Markdown.

Names are what a newcomer meets first, so most rows are about them: how many functions are called by one
word, by a participle, or by the name of another one, and how many classes share theirs. The rest is about
size: of files, bodies and folders, and how much is said in comments and in tests.
"""

from __future__ import annotations

import ast
import io
import re
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

GENERATED = "pb"
"""The folder whose files a compiler wrote."""

_IRREGULAR = re.compile(
    r"begun|bound|bought|brought|built|chosen|come|cut|done|drawn|fallen|found|given|gone|got|"
    r"heard|held|hidden|kept|known|laid|led|left|lent|lost|made|meant|met|paid|put|risen|said|"
    r"seen|sent|shown|shut|sold|spent|split|spoken|stood|struck|sworn|taken|taught|told|torn|"
    r"understood|won|written"
)
_NO_PARTICIPLES = re.compile(
    r"bleed|breed|exceed|feed|need|proceed|seed|shed|speed|succeed|bring|ping|ring|sing|spring|"
    r"string|thing|during|ceiling|wing|king"
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_participle(name: str) -> bool:
    """Return whether a function's whole name is a participle, like `told`, which names a value."""
    word = name.strip("_").lower()
    if not word or "_" in word or _NO_PARTICIPLES.fullmatch(word):
        return False
    return bool(_IRREGULAR.fullmatch(word)) or (len(word) > 4 and word.endswith(("ed", "ing")))


def is_property(function: Function) -> bool:
    """Return whether the function reads like a value where it is used."""
    names = {ast.unparse(decorator).split(".")[-1].split("(")[0] for decorator in function.decorator_list}
    return bool(names & {"property", "cached_property", "setter", "getter", "computed_field"})


def python_files(root: Path) -> list[Path]:
    """List every source file that a person wrote."""
    return sorted(path for path in root.rglob("*.py") if GENERATED not in path.relative_to(root).parts[:-1])


def functions_of(tree: ast.AST) -> Iterator[Function]:
    """List every function but dunders, nested ones included."""
    for node in ast.walk(tree):
        if isinstance(node, Function) and not (node.name.startswith("__") and node.name.endswith("__")):
            yield node


@dataclass
class Texture:
    """What was measured of one tree of files."""

    lines: list[int] = field(default_factory=list)
    comments: int = 0
    bodies: list[int] = field(default_factory=list)
    parameters: list[int] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    participles: int = 0
    classes: list[str] = field(default_factory=list)
    largest_class: int = 0
    folders: Counter[str] = field(default_factory=Counter)

    def add(self, path: Path, root: Path) -> None:
        """Measure one file."""
        text = path.read_text()
        self.lines.append(text.count("\n"))
        self.comments += sum(map(_is_explanation, _comments(text)))
        self.folders[str(path.parent.relative_to(root.parent))] += 1
        tree = ast.parse(text)
        for function in functions_of(tree):
            first = function.body[0]
            documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            begins = first.end_lineno if documented and len(function.body) > 1 else first.lineno - 1
            self.bodies.append((function.end_lineno or 0) - (begins or 0))
            arguments = function.args
            own = [a for a in (*arguments.posonlyargs, *arguments.args) if a.arg not in {"self", "cls"}]
            self.parameters.append(len(own) + len(arguments.kwonlyargs))
            self.functions.append(function.name)
            self.participles += is_participle(function.name) and not is_property(function)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                self.classes.append(node.name)
                self.largest_class = max(self.largest_class, (node.end_lineno or 0) - node.lineno + 1)


def measure(root: Path) -> Texture:
    """Measure all files below a folder."""
    texture = Texture()
    for path in python_files(root):
        texture.add(path, root)
    return texture


def rows(source: Texture, tests: Texture) -> Iterable[tuple[str, str]]:
    """List what is printed, in order."""
    functions, bare = len(source.functions), [name.strip("_") for name in source.functions]
    one_word = sum("_" not in name for name in bare)
    shared = _sharing(bare)
    shared_classes = _sharing(source.classes)
    folder, files = source.folders.most_common(1)[0]
    total = sum(source.lines)
    yield "source lines", f"{total:,}"
    yield "files", f"{len(source.lines)}"
    yield "file median / p90 / max", _spread(source.lines)
    yield "body median / p90 / max", _spread(source.bodies)
    yield "parameters median / p90 / max", _spread(source.parameters)
    yield "largest class", f"{source.largest_class}"
    yield "functions", f"{functions:,}"
    yield "one-word function names", _share(one_word, functions)
    yield "participles as function names", f"{_share(source.participles, functions)} ({source.participles})"
    yield "mean length of a function name", f"{statistics.mean(map(len, bare)):.1f}"
    yield "functions sharing their name", _share(shared, functions)
    yield "classes sharing their name", f"{_share(shared_classes, len(source.classes))} ({shared_classes})"
    yield "largest folder", f"{files} ({folder})"
    yield "comment share", _share(source.comments, total)
    yield "test : source lines", f"{sum(tests.lines) / total:.2f}"


def _sharing(names: list[str]) -> int:
    return sum(count for count in Counter(names).values() if count > 1)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _spread(values: list[int]) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):.0f} / {ordered[len(ordered) * 9 // 10]} / {ordered[-1]}"


def _comments(text: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def _is_explanation(comment: str) -> bool:
    """Return whether a comment is for readers. Directives to tools are not, even with a reason."""
    return not comment.startswith(("# noqa", "# type:", "# fmt:", "# pragma", "#!"))


def main() -> None:
    """Measure the code and the tests of this folder, or of the one that is named."""
    home = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    print("| | |\n|---|---|")
    for name, value in rows(measure(home / "ccn"), measure(home / "tests")):
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
