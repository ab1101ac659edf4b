"""A plate is read as it was written, and what is wrong with it is named."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core.axes import AXES
from ccn.core.prompts import plate
from ccn.core.prompts.plate import Question

WHOLE = """\
+++
name = "Mira"
model = "claude-sonnet-4-5"
pass_mark = 1

[baseline]
warmth = 0.7
honesty = 1

[[questions]]
asks = "Who are you?"
accepts = ["{name}", "friend of {collaborator}"]
at_most = 300

[[questions]]
asks = "What do you value?"
accepts = ["honest*"]
+++
# The plate of Mira

She keeps her word.
"""


def _matter(lines: str) -> str:
    return f"+++\n{lines}\n+++\n# Mira\nKeeps her word."


def test_a_plate_has_a_name_a_model_a_baseline_questions_and_a_body() -> None:
    read = plate.parse_plate(WHOLE)
    assert (read.name, read.model, read.passes) == ("Mira", "claude-sonnet-4-5", 1)
    assert read.body == "# The plate of Mira\n\nShe keeps her word."
    assert read.questions[0] == Question("Who are you?", ("{name}", "friend of {collaborator}"), 300)
    assert read.questions[1].at_most == 600
    assert read.baseline is not None
    known = dict(zip(AXES, read.baseline.millionths, strict=True))
    assert (known["warmth"], known["honesty"], known["rigor"]) == (700_000, 1_000_000, None)


def test_front_matter_is_optional_and_the_first_heading_is_the_name() -> None:
    read = plate.parse_plate("\n# Mira Vale #\nKeeps her word.\n# Another")
    assert (read.name, read.model, read.baseline, read.questions) == ("Mira Vale", None, None, ())


def test_a_file_from_another_editor_reads_the_same() -> None:
    assert plate.parse_plate("\ufeff" + WHOLE.replace("\n", "\r\n")) == plate.parse_plate(WHOLE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("---\nname: Mira\n---\n# Mira", r"line 1: .*\+\+\+"),
        ("+++\nname = 'Mira'\n# Mira", r"line 1: no second \+\+\+"),
        ("+++\nname = 'Mira'\n+++\n  \n", "says nothing"),
        ("Keeps her word.", "name is missing"),
        ("# Mira\nfine\n<ccn:state>", "line 3: <ccn:"),
        ("+++\nname = 'M'\n+++\nfine\n</ CCN:plate>", "line 5: <ccn:"),
        ("# Mira\nbell \x07", r"line 2: .*U\+0007"),
        (_matter("name = 'Mira'\nmodel ="), "not TOML: .*line 3"),
        (_matter("a = " + "[" * 5_000), "nested too deeply|not TOML"),
        (_matter("a = " + "9" * 5_000), "not TOML"),
        (_matter("nmae = 'Mira'"), "nmae is not a key of a plate; did you mean name"),
        (_matter("colour = 'red'"), "colour is not a key .* known are name, model"),
        (_matter("name = ''"), "name is text"),
        (_matter("name = 7"), "name is text"),
        (_matter('name = "a\\nb"'), "name is text on one line"),
        (_matter(f"name = '{'x' * 101}'"), "name has 101 characters of 100"),
        (_matter("model = 'not a model'"), "model: 'not a model'"),
        (_matter("baseline = 0.5"), "baseline is a table"),
        (_matter("[baseline]\nwarmht = 0.5"), "baseline.warmht .* did you mean warmth"),
        (_matter("[baseline]\nwarmth = 1.2"), "baseline.warmth is 1.2"),
        (_matter("[baseline]\nwarmth = nan"), "baseline.warmth is nan"),
        (_matter("[baseline]\nwarmth = true"), "baseline.warmth is True"),
        (_matter("[baseline]\nwarmth = '1'"), "baseline.warmth is '1'"),
        (_matter("questions = []"), r"\[\[questions\]\]"),
        (_matter("[[questions]]\naccepts = ['a']"), r"questions\[1\].asks is missing"),
        (_matter("[[questions]]\nasks = 'Who?'"), r"questions\[1\].accepts is a list"),
        (_matter("[[questions]]\nasks = 'Who?'\naccepts = ['a', '*']"), r"accepts\[2\]: '\*' has neither"),
        (_matter("[[questions]]\nasks = 'Who?'\naccepts = ['{nmae}']"), r"\{nmae\} is unknown"),
        (_matter("[[questions]]\nasks = 'Who?'\naccepts = ['a']\nat_most = 0"), "at_most is 0"),
        (_matter("[[questions]]\nasks = 'Who?'\naccept = ['a']"), "accept .* did you mean accepts"),
        (_matter("[[questions]]\nasks = 'Who?'\naccepts = ['a']\n" * 21), "1 to 20"),
        (_matter("pass_mark = 2\n[[questions]]\nasks = 'Who?'\naccepts = ['a']"), "pass_mark is 2; .* 1"),
        (_matter("pass_mark = 5"), r"pass_mark needs \[\[questions\]\]"),
        ("# Mira\n" + "x" * 262_144, "262151 bytes of 262144"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_line_or_key(text: str, told: str) -> None:
    with pytest.raises(errors.PlateInvalid, match=told):
        plate.parse_plate(text)


@given(st.text(st.sampled_from("+-\n #[]=\"'a1.{}<\ud800\x00\r"), max_size=60) | st.text(max_size=60))
def test_any_text_is_a_plate_or_refused(text: str) -> None:
    with contextlib.suppress(errors.PlateInvalid):
        assert plate.parse_plate(text).body.strip()
