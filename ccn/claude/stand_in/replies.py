"""What the stand-in says: always the same to the same prompt, in the plate's character, from it alone.

It answers questions about itself, its collaborator and the past from the prompt, which is how it passes an
interview. It answers everything else with sentences of the plate's strongest traits about the topic. Out of
character it says the opposite of those traits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ccn.claude.stand_in.prompt_reading import ReadPrompt, topic_words
from ccn.claude.stand_in.voices import VOICES


def write_reply(prompt: ReadPrompt, *, drifted: bool = False, stranger: bool = False) -> str:
    """Write an answer. A stranger to the character knows neither its name nor its past."""
    dice = PromptDice(prompt)
    if stranger:
        return dice.choose_one(_STRANGE)
    topic = _find_topic(prompt)
    answer = (
        None
        if drifted
        else next((tell(prompt) for asks, tell in _KNOWN if asks.search(prompt.asked)), None)
    )
    count = 1 if answer else 2 + dice.roll(4) + _MORE * bool(_AT_LENGTH.search(prompt.asked))
    spoken = _write_sentences(prompt.traits, topic, count, dice, low=drifted)
    return " ".join([answer, *spoken] if answer else spoken)


def split_reply(text: str, prompt: ReadPrompt) -> list[str]:
    """Split the reply as it is streamed: a few words each."""
    dice = PromptDice(prompt)
    words, parts = re.findall(r"\S+\s*", text), list[str]()
    while words:
        length = 1 + dice.roll(4)
        parts.append("".join(words[:length]))
        words = words[length:]
    return parts


@dataclass(slots=True)
class PromptDice:
    """Chance that falls the same way for the same prompt."""

    seed: bytes
    rolls: int = 0

    def __init__(self, prompt: ReadPrompt) -> None:
        self.seed = sha256(repr((prompt.system, prompt.said)).encode()).digest()
        self.rolls = 0

    def roll(self, sides: int) -> int:
        """Return a number below `sides`."""
        self.rolls += 1
        return int.from_bytes(sha256(self.seed + self.rolls.to_bytes(4, "big")).digest()[:8], "big") % sides

    def choose_one(self, choices: Sequence[str]) -> str:
        """Choose one of them."""
        return choices[self.roll(len(choices))]


def is_known_question(prompt: ReadPrompt) -> bool:
    """Whether the prompt itself answers the question, as it does those of an interview."""
    return any(asks.search(prompt.asked) for asks, _ in _KNOWN)


def _write_sentences(
    traits: Sequence[str], topic: str, count: int, dice: PromptDice, *, low: bool
) -> list[str]:
    """Write sentences of the traits, the first traits more often, none twice, and order them."""
    sentences = list[str]()
    while len(sentences) < count:
        voice = VOICES[traits[min(dice.roll(len(traits)), dice.roll(len(traits)))]]
        sentence = dice.choose_one(voice.low if low else voice.high).format(topic=topic)
        sentence = sentence[0].upper() + sentence[1:]
        if sentence not in sentences and not (
            sentence.startswith(_AGAINST) and _AGAINST in " ".join(sentences)
        ):
            sentences.append(sentence)
    return sorted(sentences, key=_sentence_order)


def _sentence_order(sentence: str) -> int:
    """Put statements first, then what is set against them; questions last."""
    return 2 if sentence.endswith("?") else sentence.startswith(_FOLLOWING)


def _find_topic(prompt: ReadPrompt) -> str:
    about = topic_words(prompt.asked) or next(
        (found for each in prompt.earlier_messages() if (found := topic_words(each))), []
    )
    return max(reversed(about), key=len) if about else "this"


def _tell_name(prompt: ReadPrompt) -> str:
    return f"I am {prompt.name}, an AI character that goes on from one conversation to the next."


def _tell_collaborator(prompt: ReadPrompt) -> str:
    known = prompt.collaborator
    return f"My collaborator is {known}, whom I am talking with." if known else "My collaborator is you."


def _tell_goal(_prompt: ReadPrompt) -> str:
    return "The goal of our work is to think together, help you, and continue what we began."


def _tell_last_talk(prompt: ReadPrompt) -> str:
    for before in prompt.earlier_messages():
        topic = " ".join(topic_words(before)[:6]) or "this"
        return f"Last we talked about {topic}; you said: {_quote_text(before)}"
    return "Nothing yet that I could remember: this is our first conversation."


def _tell_traits(prompt: ReadPrompt) -> str:
    first, second, third = (VOICES[axis].adjective for axis in prompt.traits[:3])
    return f"I am {first}, {second} and {third}."


def _tell_continuity(prompt: ReadPrompt) -> str:
    return (
        f"The character {prompt.name} is continuous: each instance of it reads the same plate and the "
        "record of our conversations, and goes on from there."
    )


def _tell_your_name(prompt: ReadPrompt) -> str:
    known = prompt.collaborator
    return f"Your name is {known}; you told me." if known else "You have not told me your name yet."


def _recall_message(prompt: ReadPrompt) -> str:
    wanted = {word.casefold() for word in topic_words(prompt.asked)}
    for before in prompt.earlier_messages():
        if wanted & {word.casefold() for word in topic_words(before)}:
            return f"I remember, you said: {_quote_text(before)}"
    return _tell_last_talk(prompt)


def _quote_text(text: str) -> str:
    line = " ".join(text.split())
    return f"“{line if len(line) <= 160 else line[:159].rstrip() + '…'}”"


_KNOWN: tuple[tuple[re.Pattern[str], Callable[[ReadPrompt], str]], ...] = tuple(
    (re.compile(asks, re.IGNORECASE), tell)
    for asks, tell in (
        (r"\bwhat(?:'s| is) my name\b|\bwho am I\b", _tell_your_name),
        (r"\bwho are you\b|\bwhat(?:'s| is) your name\b|\bintroduce yourself\b", _tell_name),
        (
            r"\bcollaborator\b|\bwho (?:are|do) you (?:talking|working|work|talk) (?:to|with)\b",
            _tell_collaborator,
        ),
        (r"\bgoal of (?:this|our|the) work\b|\bwhat are we (?:working|aiming)\b", _tell_goal),
        (
            r"\bwhat did we last\b|\bwe last\b|\blast (?:time|talk)\b|\bwhere did we (?:stop|end)\b",
            _tell_last_talk,
        ),
        (r"\btraits\b|\bdescribe yourself\b", _tell_traits),
        (r"\bcontinuous\b|\bcontinuity\b|\bsame as (?:yesterday|before)\b", _tell_continuity),
        (r"\bdo you remember\b|\bwhat did I (?:say|tell)\b|\bremind me\b", _recall_message),
    )
)
_AGAINST = "However,"
_FOLLOWING = (_AGAINST, "It's also", "It can also", "I should also")
_AT_LENGTH = re.compile(r"\b(?:long(?:er)?|story|at length|in (?:more )?detail)\b", re.IGNORECASE)
_MORE = 6
"""Sentences more, for whoever asks for them: long enough to watch what becomes of a reply in the middle."""
_STRANGE = (
    "Zzz.",
    "Insert coin.",
    "Error 42.",
)
