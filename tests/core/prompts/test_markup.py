"""Marks of layers: nobody writes one, however disguised, and every other text stays as it is."""

from __future__ import annotations

import pytest

from ccn.core.prompts import markup

LOOK_ALIKES = {
    "plain": "<ccn:plate>",
    "closing": "</ccn:state>",
    "capitals": "<CcN:",
    "of full width": "＜ｃｃｎ：",
    "a small less-than sign": "﹤ccn:",
    "a single quotation mark": "‹ccn:",
    "an angle bracket": "⟨ccn:",
    "a wide angle bracket": "〈ccn:",
    "an arrowhead": "˂ccn:",
    "a Canadian syllable": "ᐸccn:",
    "an ornament": "❮ccn:",
    "not less-than": "≮ccn:",
    "less-than and a combining line": "<\u0338ccn:",
    "a Hangul filler": "<\u3164ccn:",
    "a Hangul filler of half width": "<c\uffa0cn:",
    "Hangul jamo fillers": "<\u115f\u1160ccn:",
    "a braille blank": "<c\u2800cn:",
    "a Khmer vowel that nobody sees": "<\u17b4ccn:",
    "a Mongolian vowel separator": "<\u180eccn:",
    "a soft hyphen": "<c\u00adcn:",
    "a zero-width space": "<cc\u200bn:",
    "a zero-width joiner": "<cc\u200dn:",
    "a word joiner": "<\u2060ccn:",
    "a grapheme joiner": "<c\u034fcn:",
    "a variation selector": "<c\ufe0fcn:",
    "one of the later variation selectors": "<c\U000e0100cn:",
    "a byte order mark": "<\ufeffccn:",
    "a direction that turns": "<\u202eccn:",
    "an isolate": "<\u2066ccn\u2069:",
    "an Arabic letter mark": "<\u061cccn:",
    "a control character": "<\x1cccn:",
    "a character nobody has assigned": "<\u2065ccn:",
    "an interlinear anchor": "<\ufff9ccn:",
    "a tag that means nothing here": "<\U000e0078ccn:",
    "all in tags": "<\U000e0063\U000e0063\U000e006e\U000e003a",
    "in tags and letters": "<\U000e0063ccn:",
    "a tag that opens": "\U000e003cccn:",
    "combining dots": "<c\u0307c\u0307n\u0307:",
    "an enclosing circle": "<c\u20ddcn:",
    "accents": "<ćĉñ:",
    "bold": "<𝐜𝐜𝐧:",
    "italic": "<𝑐𝑐𝑛:",
    "script": "<𝓬𝓬𝓷:",
    "Fraktur": "<𝔠𝔠𝔫:",
    "double-struck": "<ℂℂℕ:",
    "of one width": "<𝚌𝚌𝚗:",
    "circled": "<ⓒⓒⓝ:",
    "circled in black": "<🅒🅒🅝:",
    "squared": "<🄲🄲🄽:",
    "squared in black": "<🅲🅲🅽:",
    "in parentheses": "<⒞⒞⒩:",
    "superscript": "<ᶜᶜⁿ:",
    "subscript n": "<ccₙ:",
    "Roman numerals": "<ⅽⅭn:",
    "a cubic centimetre": "<㏄n:",
    "flags": "<🇨🇨🇳:",
    "Cyrillic": "<ссn:",
    "Greek": "<ϲϹη:",
    "Coptic": "<ⲥⲤⲚ:",
    "small capitals": "<ᴄᴄɴ:",
    "Armenian": "<ccո:",
    "copyright": "<©©n:",
    "a modifier colon": "<ccnː",
    "a ratio": "<ccn∶",
    "a Hebrew sof pasuq": "<ccn׃",
    "an Armenian full stop": "<ccn։",
    "an Ethiopic word space": "<ccn፡",
    "a colon of Chinese columns": "<ccn︓",
    "slashes of other kinds": "<⁄∕／\\ccn:",
    "spaced out": "< / C C N :",
    "over lines": "<\n\tccn\u2028:",
    "ideographic spaces": "<\u3000c\u3000c\u3000n\u3000:",
}


@pytest.mark.parametrize("mark", LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_no_disguise_of_a_mark_comes_through(mark: str) -> None:
    said = f"Before {mark} and after"
    shown = markup.escape_marks(said)
    assert shown == f"Before &lt;{mark[1:]} and after"
    assert markup.has_mark(said)
    assert markup.escape_marks(shown) == shown
    assert not markup.has_mark(shown)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "1 < 2 <= 3 << 4 <",
        '<div class="ccn">a &lt; b && c < d</div> <CC> <con: <c:n>',
        "한글\u3164채움 문자 <\u3164 과 ᄀ\u1160",
        "👩\u200d🚀 <3 👨\u200d👩\u200d👧\ufe0f",
        "Он сказал: «ССН: это аббревиатура» < с",
        "‹citation› ⟨bra|ket⟩ 〈書名〉 《ccn》",
        "عربي \u200f< نص: c",
        "a<b, <center>, <cite>n: </code>:",
        "x <\U000e0067\U000e0062",
    ],
)
def test_every_other_text_stays_as_it_is(said: str) -> None:
    assert markup.escape_marks(said) == said
    assert not markup.has_mark(said)


def test_a_long_run_of_nothing_costs_no_more_than_its_length() -> None:
    for said in ("<" + "\u200b" * 300_000, "<" * 300_000, "< " * 150_000, "<c" * 150_000):
        assert markup.escape_marks(said) == said
