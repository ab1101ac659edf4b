"""What the stand-in can know: only what is in the prompt it is sent, as a model would.

The plate says who it is and how it sounds; the rest says whom it talks with and what was said. It keeps
nothing between two requests, so an answer from memory proves that the memory was in the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ccn.claude.stand_in.voices import VOICES
from ccn.core.prompts import markup

TRAITS = 5
"""How many traits of a plate show in what is said."""
SHOWN = 0.6
"""From which figure on an axis counts as a trait, where the plate gives figures."""

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
    """What a request says."""

    system: str
    said: tuple[tuple[str, str], ...]

    @property
    def asked(self) -> str:
        """The message to be answered."""
        return self.said[-1][1] if self.said else ""

    @property
    def plate(self) -> str:
        """Who to be: the layer of that name, or the whole system prompt."""
        return next((text for name, _, text in self._named_layers() if name == "plate"), self.system)

    @property
    def name(self) -> str:
        """The name of the character to be."""
        attributes = next((text for name, text, _ in self._named_layers() if name == "plate"), "")
        match = _NAMED.search(attributes) or _HEADING.search(self.plate) or _YOU_ARE.search(self.plate)
        return match[1] if match else "Claude"

    @property
    def traits(self) -> list[str]:
        """The axes that the plate measures highest, or else speaks of most; the strongest first."""
        weights = {axis: float(figure) for axis, figure in _FIGURE.findall(self.plate) if axis in VOICES}
        axes = [axis for axis in weights if weights[axis] >= SHOWN]
        if not axes:
            plate = self.plate.casefold()
            weights = {axis: sum(map(plate.count, voice.shown_by)) for axis, voice in VOICES.items()}
            axes = [axis for axis in weights if weights[axis]]
        axes.sort(key=lambda axis: -weights[axis])
        return (axes + [axis for axis in _ORDINARY if axis not in axes])[:TRAITS]

    @property
    def collaborator(self) -> str | None:
        """The name of the person, if the person or the prompt ever told it. The last time counts."""
        said = [text for role, text in self.said if role == "user"]
        names: list[str] = [name for text in said for name in _CALLED.findall(text)]
        if names:
            return names[-1]
        layers = [text for name, _, text in self._named_layers() if name not in {"plate", "rules"}]
        patterns = (_CALLED, _COLLABORATOR)
        names = [name for text in layers for pattern in patterns for name in pattern.findall(text)]
        return names[-1] if names else None

    def earlier_messages(self) -> Iterator[str]:
        """Yield what the person said before, newest first: here, then in remembered conversations."""
        yield from (text for role, text in reversed(self.said[:-1]) if role == "user")
        for name, _, text in reversed(list(self._named_layers())):
            if name not in {"plate", "rules", "state"}:
                yield from reversed(_QUOTE.findall(text))

    def _named_layers(self) -> Iterator[tuple[str, str, str]]:
        """Find the parts of the system prompt that have a name: the name, its attributes, and the text."""
        return ((match[1], match[2], match[3]) for match in _LAYER.finditer(self.system))


_ORDINARY = ("honesty", "warmth", "curiosity", "diligence")


def read_prompt(request: Mapping[str, Any]) -> ReadPrompt:
    """Read a request of the Messages API."""
    said = tuple(
        (message["role"], _LAYER.sub("", content_text(message["content"])))
        for message in request["messages"]
    )
    return ReadPrompt(content_text(request.get("system", "")), said)


def whole_text(request: Mapping[str, Any]) -> str:
    """Join all words of a request, of every role."""
    said = (content_text(message["content"]) for message in request["messages"])
    return "\n".join((content_text(request.get("system", "")), *said))


def content_text(content: str | Sequence[Mapping[str, Any]]) -> str:
    """Return the words of some content, in whichever form it is."""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block.get("type") == "text")


def topic_words(text: str) -> list[str]:
    """Find the words that a text is about, in their order."""
    return [word for word in _WORD.findall(text) if word.casefold() not in _DULL]
