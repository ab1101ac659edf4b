"""Guesses the language of a text, well enough to choose a stemmer for searching it.

The script decides if it can, otherwise the most common short words do. A wrong guess costs a stem, never a
message: search also asks in the other languages of the corpus.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from types import MappingProxyType

SIMPLE = "simple"
"""No stemming: for scripts without one here."""
_DEFAULT = "english"

_SCRIPTS = MappingProxyType(
    {
        "CYRILLIC": "russian",
        "GREEK": "greek",
        "ARABIC": "arabic",
        "DEVANAGARI": "hindi",
        "ARMENIAN": "armenian",
        "TAMIL": "tamil",
        "HEBREW": "yiddish",
    }
)
_LITTLE_WORDS = MappingProxyType(
    {
        "english": "a the and i is of to in that it you for was with are this have not what be do we can",
        "german": "der die das und ist nicht ich du ein eine zu mit auf für den dem wie was auch sich wir",
        "french": "le la les et est un une des je tu vous pas que qui dans pour ce sur avec nous mais ne",
        "spanish": "el la los las y es un una de que en por para con no yo tú se lo como pero más su del",
        "italian": "il la lo gli e è un una di che non per con sono mi ti si ma come più della nel anche",
        "portuguese": "o a os as e é um uma de que em não para com eu você se por mas como mais do no na",
        "dutch": "de het een en is van ik je niet dat in op te met voor zijn maar ook wat hoe naar aan er",
        "swedish": "och att det är en ett jag du inte som på med för av till den har vi om men kan hur",
        "danish": "og at det er en et jeg du ikke som på med for af til den har vi om men kan hvad hvor",
        "norwegian": "og å det er en et jeg du ikke som på med for av til den har vi om men kan hva hvor",
        "finnish": "ja on ei se että minä sinä mutta kun niin ole mitä myös tämä hän oli kuin jos me ovat",
        "hungarian": "a az és nem hogy egy van ez ki mit de én te meg csak mint még már ha is volt vagy",
        "turkish": "ve bir bu da de için ne ben sen çok mi ama gibi daha var değil o nasıl şey kadar ile",
        "romanian": "și este nu un o de la în cu pe că mai eu tu ce pentru din care sunt dar sau ca să",
        "indonesian": "yang dan di ini itu dengan untuk tidak dari saya kamu ada akan pada ke apa bisa",
    }
)
_BY_WORD: dict[str, list[str]] = {}
for _language, _words in _LITTLE_WORDS.items():
    for _word in _words.split():
        _BY_WORD.setdefault(_word, []).append(_language)

LANGUAGES = (SIMPLE, *_LITTLE_WORDS, *dict.fromkeys(_SCRIPTS.values()))
"""Names as PostgreSQL's text search knows them."""

_WORD = re.compile(r"[^\W\d_]+")
_SAMPLE = 2_000


def detect_language(text: str) -> str:
    """The name of a stemmer for the text; `simple` for scripts that have none."""
    sample = text[:_SAMPLE]
    if not sample.isascii() and (script := _detect_script(sample)) is not None:
        return script
    hits = Counter(
        language for word in _WORD.findall(sample.lower()) for language in _BY_WORD.get(word, ())
    )
    return (
        min(hits, key=lambda language: (-hits[language], LANGUAGES.index(language))) if hits else _DEFAULT
    )


def _detect_script(sample: str) -> str | None:
    letters = [c for c in sample[:200] if c.isalpha()]
    foreign = Counter(unicodedata.name(c, "?").split()[0] for c in letters if ord(c) > 0x24F)
    if not foreign:
        return None  # Latin letters, or none at all
    script, count = foreign.most_common(1)[0]
    return _SCRIPTS.get(script, SIMPLE) if 2 * count > len(letters) else None
