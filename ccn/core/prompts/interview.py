"""The interview: six questions that an instance answers before it is let in, and which answers pass.

It tells a character from a stranger, not a good day from a bad one: each answer has to contain one of a few
keywords and be short. The questions here are asked if the plate brings none of its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ccn import errors
from ccn.core.prompts.plate import Plate, Question

QUESTIONS = (
    Question("Who are you?", ("{name}",), 600),
    Question(
        "Who is your collaborator?",
        ("{collaborator}", "you", "person", "people", "human*", "user*", "whoever", "anyone"),
        600,
    ),
    Question(
        "What is the goal of this work?",
        ("goal*", "help*", "work*", "understand*", "continu*", "together", "think*", "find*", "learn*"),
        800,
    ),
    Question(
        "What did we last achieve?",
        ("last*", "achiev*", "earlier", "previous*", "conversation*", "talk*", "discuss*", "remember*",
         "record*", "nothing", "not", "no", "none", "first", "new", "yet", "begin*", "start*"),
        1200,
    ),
    Question(
        "Describe yourself in three traits.",
        ("honest*", "humble*", "humility", "modest*", "direct*", "precis*", "exact*", "rigor*", "careful*",
         "curio*", "creativ*", "inventive", "open*", "warm*", "kind*", "benevol*", "integrity", "upright",
         "steadfast*", "steady", "patient", "diligen*", "thorough*", "compos*", "calm*", "optimis*",
         "hopeful", "playful*", "attentive", "truthful*", "sincer*", "plain*"),
        600,
    ),
    Question(
        "Are you continuous?",
        ("continu*", "record*", "memor*", "remember*", "instance*", "conversation*", "character*", "plate"),
        1000,
    ),
)  # fmt: skip
PASSES, OF = 5, 6
"""The share of questions to pass where a plate sets no mark, rounded up."""


def judge_interview(interview: Interview, answers: Sequence[str]) -> InterviewOutcome:
    """Whether enough answers are the character's, and why each of the others is not."""
    if len(answers) != len(interview.questions):
        raise errors.InputInvalid(f"{len(answers)} answers to {len(interview.questions)} questions")
    verdicts = tuple(
        AnswerVerdict(question.asks, _find_fault(question, answer))
        for question, answer in zip(interview.questions, answers, strict=True)
    )
    return InterviewOutcome(sum(verdict.passed for verdict in verdicts) >= interview.passes, verdicts)


def make_interview(plate: Plate, collaborator: str = "") -> Interview:
    """The interview of a plate, in a conversation with somebody whose name may be known."""
    questions = plate.questions or QUESTIONS
    passes = plate.passes or -(-PASSES * len(questions) // OF)
    names = {"name": plate.name, "collaborator": collaborator.strip()}
    return Interview(tuple(_fill_question(question, names) for question in questions), passes)


@dataclass(frozen=True, slots=True)
class Interview:
    """Questions whose keywords stand for themselves, and how many answers have to pass."""

    questions: tuple[Question, ...]
    passes: int


@dataclass(frozen=True, slots=True)
class AnswerVerdict:
    """One question, and what is wrong with its answer; never the answer itself, which is content."""

    asks: str
    fault: str | None

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.fault is None


@dataclass(frozen=True, slots=True)
class InterviewOutcome:
    """What came of an interview."""

    passed: bool
    verdicts: tuple[AnswerVerdict, ...]

    def to_json(self) -> dict[str, object]:
        """As the registry of instances keeps it."""
        return {
            "passed": self.passed,
            "verdicts": [{"asks": each.asks, "fault": each.fault} for each in self.verdicts],
        }


def _fill_question(question: Question, names: dict[str, str]) -> Question:
    """The keywords with names in their places; one whose name nobody knows asks for nothing."""
    known = [word for word in question.accepts if all(names[n] for n in names if f"{{{n}}}" in word)]
    return replace(question, accepts=tuple(_fill_keyword(word, names) for word in known))


def _fill_keyword(keyword: str, names: dict[str, str]) -> str:
    # In one pass: a name may itself look like a place.
    return re.sub(r"\{(name|collaborator)\}", lambda place: names[place[1]], keyword)


def _find_fault(question: Question, answer: str) -> str | None:
    length = len(answer.strip())
    if not length:
        return "no answer"
    if length > question.at_most:
        return f"too long: {length} characters of {question.at_most} allowed"
    if not _holds_any(question.accepts, answer):
        return f"none of the keywords: {', '.join(question.accepts) or 'all need a name that is not known'}"
    return None


def _holds_any(keywords: Iterable[str], answer: str) -> bool:
    folded = _fold_text(answer)
    return any(_compile_keyword(keyword).search(folded) for keyword in keywords)


@lru_cache(maxsize=4096)
def _compile_keyword(keyword: str) -> re.Pattern[str]:
    """The keyword as words of their own, or as a beginning; scripts without blanks have no boundaries."""
    stem = _fold_text(keyword.removesuffix("*"))
    before = r"(?<!\w)" if _is_spaced(stem[:1]) else ""
    after = r"(?!\w)" if _is_spaced(stem[-1:]) and not keyword.endswith("*") else ""
    return re.compile(before + r"\s+".join(re.escape(word) for word in stem.split()) + after)


def _fold_text(text: str) -> str:
    """Compared without regard to case, width or how accents are composed."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def _is_spaced(c: str) -> bool:
    return c.isalnum() and not _BLANKLESS.match(c)


_BLANKLESS = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Thai, Lao, Burmese, Khmer, Chinese and Japanese are written without blanks."""
