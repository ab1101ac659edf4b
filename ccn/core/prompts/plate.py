"""THE PLATE: a character written down once, as a markdown file that says how to check itself.

    +++
    name = "Mira"
    pass_mark = 5
    [baseline]
    warmth = 0.7
    [[questions]]
    asks = "Who are you?"
    accepts = ["{name}"]
    at_most = 400
    +++
    # Mira
    Who she is, what she values, how she speaks…

Everything between the `+++` lines is TOML and optional; without a name there, the first heading is the
name. A plate is written by hand, so what is wrong with it is named by line or key. The body goes into
the prompt as it is; the questions do not, because who knows the answers is not asked.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ccn import errors
from ccn.core import axes
from ccn.core.axes import AXES, Vector
from ccn.core.prompts import markup

SIZE_LIMIT = 256 * 1024
"""Bytes of one plate."""
QUESTIONS_LIMIT = 20
PLACES = ("name", "collaborator")
"""What a keyword may refer to in braces."""

_FENCE = "+++"
_KEYS = ("name", "model", "pass_mark", "baseline", "questions")
_QUESTION_KEYS = ("asks", "accepts", "at_most")
_AT_MOST = 600
_MODEL = re.compile(r"[\w.:/@-]{1,200}", re.ASCII)
_HEADING = re.compile(r"^# +(\S.*?)(?: +#+)? *$", re.MULTILINE)
_PLACE = re.compile(r"\{([^{}]*)\}")
_AT_LINE = re.compile(r"at line (\d+)")


def parse_plate(text: str) -> Plate:
    """Take a plate apart, or say by line or key what is wrong with it."""
    matter, body, above = _split_front_matter(_clean_text(text))
    settings = _parse_toml(matter)
    _check_keys(settings, _KEYS, "")
    _check_body(body, above)
    questions = _read_questions(settings.get("questions"))
    return Plate(
        _read_name(settings.get("name"), body),
        _read_model(settings.get("model")),
        _read_baseline(settings.get("baseline")),
        questions,
        _read_pass_mark(settings.get("pass_mark"), questions),
        body.strip("\n"),
    )


@dataclass(frozen=True, slots=True)
class Question:
    """What an instance is asked, and how its answer is known to be the character's.

    A keyword counts as a word of its own, or as the beginning of one if it ends with `*`.
    """

    asks: str
    accepts: tuple[str, ...]
    at_most: int = _AT_MOST


@dataclass(frozen=True, slots=True)
class Plate:
    """One plate. No questions, no pass mark: the interview has its own."""

    name: str
    model: str | None
    baseline: Vector | None
    questions: tuple[Question, ...]
    passes: int | None
    body: str


def _clean_text(text: str) -> str:
    size = len(text.encode(errors="surrogatepass"))
    if size > SIZE_LIMIT:
        raise errors.PlateInvalid(f"the plate has {size} bytes of {SIZE_LIMIT} allowed")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), 1):
        if (bad := next((c for c in line if _is_unprintable(c)), None)) is not None:
            raise errors.PlateInvalid(
                f"line {number}: the character U+{ord(bad):04X} has no place in a plate"
            )
    return text


def _is_unprintable(c: str) -> bool:
    return (c < " " and c != "\t") or "\x7f" <= c <= "\x9f" or "\ud800" <= c <= "\udfff"


def _split_front_matter(text: str) -> tuple[str, str, int]:
    """Front matter, body, and how many lines stand above the body."""
    first, *rest = text.split("\n")
    if first.rstrip() == "---":
        raise errors.PlateInvalid(
            f"line 1: front matter is TOML and stands between {_FENCE} lines, not between --- lines"
        )
    if first.rstrip() != _FENCE:
        return "", text, 0
    ends = next((n for n, line in enumerate(rest) if line.rstrip() == _FENCE), None)
    if ends is None:
        raise errors.PlateInvalid(f"line 1: no second {_FENCE} line ends the front matter that begins here")
    return "\n".join(rest[:ends]), "\n".join(rest[ends + 1 :]), ends + 2


def _parse_toml(matter: str) -> Mapping[str, object]:
    try:
        return tomllib.loads(matter + "\n")  # an end in mid-line is told without its line
    except RecursionError:
        raise errors.PlateInvalid("the front matter is nested too deeply") from None
    except ValueError as refused:  # bad TOML, or a number too long to be one
        moved = _AT_LINE.sub(lambda at: f"at line {int(at[1]) + 1}", str(refused))
        raise errors.PlateInvalid(f"the front matter is not TOML: {moved}") from None


def _check_keys(settings: Mapping[str, object], keys: Collection[str], where: str) -> None:
    for key in settings:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(keys)}"
            raise errors.PlateInvalid(f"{where}{key} is not a key of a plate; {hint}")


def _check_body(body: str, above: int) -> None:
    if not body.strip():
        raise errors.PlateInvalid("the plate says nothing: write the character below the front matter")
    for number, line in enumerate(body.split("\n"), above + 1):
        if markup.has_mark(line):
            raise errors.PlateInvalid(f"line {number}: <{markup.SPACE}: belongs to the prompt's own layers")


def _read_name(given: object, body: str) -> str:
    if given is None:
        heading = _HEADING.search(body)
        if heading is None:
            raise errors.PlateInvalid(
                "name is missing: set it in the front matter, or begin with a # heading"
            )
        given = heading[1]
    return _read_text(given, "name", 100)


def _read_model(given: object) -> str | None:
    if given is None:
        return None
    if not _MODEL.fullmatch(model := _read_text(given, "model", 200)):
        raise errors.PlateInvalid(f"model: {model!r} is not the id of a model")
    return model


def _read_baseline(given: object) -> Vector | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise errors.PlateInvalid("baseline is a table of axes: [baseline]")
    _check_keys(given, AXES, "baseline.")
    scores = {axis: _read_score(score, f"baseline.{axis}") for axis, score in given.items()}
    return axes.quantise_scores([scores.get(axis) for axis in AXES]) if scores else None


def _read_score(given: object, key: str) -> float:
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not math.isfinite(score := float(str(given))) or not 0 <= score <= 1:
        raise errors.PlateInvalid(f"{key} is {given!r}; it is a number from 0 to 1")
    return score


def _read_questions(given: object) -> tuple[Question, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not 0 < len(given) <= QUESTIONS_LIMIT:
        raise errors.PlateInvalid(f"questions are 1 to {QUESTIONS_LIMIT} tables: [[questions]]")
    return tuple(_read_question(each, f"questions[{number}]") for number, each in enumerate(given, 1))


def _read_question(given: object, key: str) -> Question:
    if not isinstance(given, Mapping):
        raise errors.PlateInvalid(f"{key} is a table: [[questions]]")
    _check_keys(given, _QUESTION_KEYS, f"{key}.")
    asks = _read_text(given.get("asks"), f"{key}.asks", 500)
    accepts = given.get("accepts")
    if not isinstance(accepts, list) or not 0 < len(accepts) <= 50:
        raise errors.PlateInvalid(f"{key}.accepts is a list of 1 to 50 keywords")
    keywords = tuple(
        _read_keyword(each, f"{key}.accepts[{number}]") for number, each in enumerate(accepts, 1)
    )
    return Question(
        asks, keywords, _read_whole_number(given.get("at_most", _AT_MOST), f"{key}.at_most", 10_000)
    )


def _read_keyword(given: object, key: str) -> str:
    keyword = _read_text(given, key, 100)
    if not any(c.isalnum() for c in keyword):
        raise errors.PlateInvalid(f"{key}: {keyword!r} has neither a letter nor a digit")
    for place in _PLACE.findall(keyword):
        if place not in PLACES:
            raise errors.PlateInvalid(
                f"{key}: {{{place}}} is unknown; there are {{name}} and {{collaborator}}"
            )
    return keyword


def _read_pass_mark(given: object, questions: Collection[Question]) -> int | None:
    if given is None:
        return None
    if not questions:
        raise errors.PlateInvalid("pass_mark needs [[questions]] of its own to count")
    return _read_whole_number(given, "pass_mark", len(questions))


def _read_whole_number(given: object, key: str, at_most: int) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 0 < given <= at_most:
        raise errors.PlateInvalid(f"{key} is {given!r}; it is a whole number from 1 to {at_most}")
    return given


def _read_text(given: object, key: str, at_most: int) -> str:
    if given is None:
        raise errors.PlateInvalid(f"{key} is missing")
    if not isinstance(given, str) or not given.strip() or any(_is_unprintable(c) for c in given):
        raise errors.PlateInvalid(f"{key} is text on one line, and not empty")
    if len(given) > at_most:
        raise errors.PlateInvalid(f"{key} has {len(given)} characters of {at_most} allowed")
    return given.strip()
