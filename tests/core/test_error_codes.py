"""Codes of errors: one each, there and back."""

from __future__ import annotations

from ccn import errors
from ccn.core import error_codes


def every(kind: type[errors.CCNError] = errors.CCNError) -> list[type[errors.CCNError]]:
    return [kind, *(below for each in kind.__subclasses__() for below in every(each))]


def test_a_code_is_the_name_of_the_error_as_programs_write_it() -> None:
    assert error_codes.code_from_name("TurnRunning") == "turn_running"
    assert error_codes.code_from_name("ReplyDeclined") == "reply_declined"


def test_every_error_has_a_code_of_its_own_and_is_found_by_it() -> None:
    assert {
        error_codes.error_from_code(error_codes.code_from_name(kind.__name__)) for kind in every()
    } == set(every())
    assert all(error_codes.code_from_name(kind.__name__).isidentifier() for kind in every())


def test_an_unknown_code_names_no_error() -> None:
    assert error_codes.error_from_code("turn_on_the_light") is None
