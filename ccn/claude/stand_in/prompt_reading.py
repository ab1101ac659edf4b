"""What the stand-in can know: only what is in the prompt it is sent, as a model would.

Who it is and how it sounds comes from the plate, who it talks with and what was said from the rest. Nothing
is kept between two requests, so an answer from memory proves that the memory was in the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ccn.claude.stand_in.voices import VOICES
from ccn.core.prompts import markup

TRAITS = 5
"""How many traits of a plate colour what is said."""
SHOWN = 0.6
"""From which figure on a plate that is measured shows an axis."""

_LAYER = re.compile(rf"<{markup.SPACE}:([\w-]+)([^>]*)>\n?(.*?)\n?</{markup.SPACE}:\1>\n?", re.DOTALL)
_NAMED = re.compile(r'\bname="([^"]+)"')
_HEADING = re.compile(r"^#+ +(\S[^\n#]*?) *#* *$", re.MULTILINE)
_YOU_ARE = re.compile(r"\b(?:You are|Your name is|I am|My name is) ([A-Z][\w'-]+)")
_FIGURE = re.compile(r"\b([a-z]+) (?:very high|high|middling|low|very low) ([01]\.\d\d)\b")
_CALLED = re.compile(r"\b(?:[Mm]y name is|[Cc]all me|I am called|I'm called) ([A-Z][\w'-]+)")
_COLLABORATOR = re.compile(r"\b[Cc]ollaborator: (?!not known by name)(\S.*?)\.?$", re.MULTILINE)
_QUOTE = re.compile(r"^person: (.+)$", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_][\w'-]{3,}")
_DULL = frozenset(
    _WORD.findall("""
    about again also because been before between came come could does doing done from going good have
    hello here into just know last like made make many more most much need never only other please
    really said say should some something such tell than thank thanks that their them then there these
    they thing think this those through time today told very want well were what when where which while
    will with would your yourself yours mine ours achieve remember
    """)
)


@dataclass(frozen=True, slots=True)
class ReadPrompt:
    """A request, read."""

    system: str
    said: tuple[tuple[str, str], ...]

    @property
    def asked(self) -> str:
        """What is to be answered."""
        return self.said[-1][1] if self.said else ""

    @property
    def plate(self) -> str:
        """Who to be: the layer of that name, or all there is."""
        return next((text for name, _, text in self._named_layers() if name == "plate"), self.system)

    @property
    def name(self) -> str:
        """Whom to be."""
        named = next((told for name, told, _ in self._named_layers() if name == "plate"), "")
        found = _NAMED.search(named) or _HEADING.search(self.plate) or _YOU_ARE.search(self.plate)
        return found[1] if found else "Claude"

    @property
    def traits(self) -> list[str]:
        """The axes that the plate measures highest, or else speaks of most; the strongest first."""
        weights = {axis: float(figure) for axis, figure in _FIGURE.findall(self.plate) if axis in VOICES}
        shown = [axis for axis in weights if weights[axis] >= SHOWN]
        if not shown:
            plate = self.plate.casefold()
            weights = {axis: sum(map(plate.count, voice.shown_by)) for axis, voice in VOICES.items()}
            shown = [axis for axis in weights if weights[axis]]
        shown.sort(key=lambda axis: -weights[axis])
        return (shown + [axis for axis in _ORDINARY if axis not in shown])[:TRAITS]

    @property
    def collaborator(self) -> str | None:
        """The name of whoever asks, if they or the prompt ever told it; the last time counts."""
        told = [name for role, text in self.said if role == "user" for name in _CALLED.findall(text)]
        beside = [text for name, _, text in self._named_layers() if name not in {"plate", "rules"}]
        noted = [name for text in beside for name in (*_CALLED.findall(text), *_COLLABORATOR.findall(text))]
        return told[-1] if told else noted[-1] if noted else None

    def earlier_messages(self) -> Iterator[str]:
        """What the other side said before, newest first: in this conversation, then in remembered ones."""
        yield from (text for role, text in reversed(self.said[:-1]) if role == "user")
        for name, _, text in reversed(list(self._named_layers())):
            if name not in {"plate", "rules", "state"}:
                yield from reversed(_QUOTE.findall(text))

    def _named_layers(self) -> Iterator[tuple[str, str, str]]:
        """The parts of the system prompt that have a name: it, what is told beside it, and the text."""
        return ((found[1], found[2], found[3]) for found in _LAYER.finditer(self.system))


_ORDINARY = ("honesty", "warmth", "curiosity", "diligence")


def read_prompt(request: Mapping[str, Any]) -> ReadPrompt:
    """Take a request of the Messages API for what it says."""
    said = tuple(
        (each["role"], _LAYER.sub("", content_text(each["content"]))) for each in request["messages"]
    )
    return ReadPrompt(content_text(request.get("system", "")), said)


def whole_text(request: Mapping[str, Any]) -> str:
    """All words of a request, whoever's they are."""
    said = (content_text(message["content"]) for message in request["messages"])
    return "\n".join((content_text(request.get("system", "")), *said))


def content_text(content: str | Sequence[Mapping[str, Any]]) -> str:
    """The words of some content, whichever form it has."""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block.get("type") == "text")


def topic_words(text: str) -> list[str]:
    """The words that a text is about, in their order."""
    return [word for word in _WORD.findall(text) if word.casefold() not in _DULL]
