"""What the stand-in can know: only what is in the prompt it is sent, as a model would.

Who it is and how it sounds comes from the plate, who it talks with and what was said from the rest. Nothing
is kept between two requests, so an answer from memory proves that the memory was in the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ccn.claude.voices import VOICES
from ccn.core import layer

TRAITS = 4
"""How many traits of a plate colour what is said."""

_LAYER = re.compile(rf"<{layer.SPACE}:([\w-]+)[^>]*>\n?(.*?)\n?</{layer.SPACE}:\1>", re.DOTALL)
_HEADING = re.compile(r"^#+ +(\S[^\n#]*?) *#* *$", re.MULTILINE)
_YOU_ARE = re.compile(r"\b(?:You are|Your name is|I am|My name is) ([A-Z][\w'-]+)")
_CALLED = re.compile(r"\b(?:[Mm]y name is|[Cc]all me|I am called|I'm called) ([A-Z][\w'-]+)")
_COLLABORATOR = re.compile(r"[Cc]ollaborator(?: is|'s name is|:|=)?\s*\"?([A-Z][\w'-]+)")
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
class Prompt:
    """A request, read."""

    system: str
    said: tuple[tuple[str, str], ...]

    @property
    def asked(self) -> str:
        """What is to be answered."""
        return self.said[-1][1] if self.said else ""

    @property
    def layers(self) -> Mapping[str, str]:
        """The parts of the system prompt that have a name."""
        return {found[1]: found[2] for found in _LAYER.finditer(self.system)}

    @property
    def plate(self) -> str:
        """Who to be: the layer of that name, or all there is."""
        return self.layers.get("plate", self.system)

    @property
    def name(self) -> str:
        """Whom to be."""
        found = _HEADING.search(self.plate) or _YOU_ARE.search(self.plate)
        return found[1] if found else "Claude"

    @property
    def traits(self) -> list[str]:
        """The axes that the plate speaks of most, first the strongest."""
        plate = self.plate.casefold()
        weights = {
            axis: sum(plate.count(word) for word in voice.shown_by) for axis, voice in VOICES.items()
        }
        shown = sorted((axis for axis in weights if weights[axis]), key=lambda axis: -weights[axis])
        return (shown + [axis for axis in _ORDINARY if axis not in shown])[:TRAITS]

    @property
    def collaborator(self) -> str | None:
        """The name of whoever asks, if they or the prompt ever told it; the last time counts."""
        told = [name for role, text in self.said if role == "user" for name in _CALLED.findall(text)]
        beside = [text for name, text in self.layers.items() if name != "plate"]
        remembered = [
            name for text in beside for name in (*_COLLABORATOR.findall(text), *_CALLED.findall(text))
        ]
        return told[-1] if told else remembered[-1] if remembered else None

    def earlier(self) -> Iterator[str]:
        """What the other side said before, newest first: in this conversation, then in remembered ones."""
        yield from (text for role, text in reversed(self.said[:-1]) if role == "user")
        for name, text in reversed(list(self.layers.items())):
            if name in MEMORIES:
                yield from (line for line in reversed(text.splitlines()) if words(line))


MEMORIES = ("memory", "memories", "recent", "history", "conversations")
"""Layers that tell of earlier conversations."""

_ORDINARY = ("honesty", "warmth", "curiosity", "diligence")


def read(request: Mapping[str, Any]) -> Prompt:
    """Take a request of the Messages API for what it says."""
    said = tuple((message["role"], text_of(message["content"])) for message in request["messages"])
    return Prompt(text_of(request.get("system", "")), said)


def text_of(content: str | Sequence[Mapping[str, Any]]) -> str:
    """The words of some content, whichever form it has."""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block.get("type") == "text")


def words(text: str) -> list[str]:
    """The words that a text is about, in their order."""
    return [word for word in _WORD.findall(text) if word.casefold() not in _DULL]
