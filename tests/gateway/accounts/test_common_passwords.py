"""Passwords that a guesser tries first are recognised by how they are made, and others are left alone."""

from __future__ import annotations

import time

import pytest

from ccn.gateway.accounts import common_passwords


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "PassWord!!!2026",
        "p4ssw0rd....",
        "P@$$w0rd1234",
        "2026winter2026",
        "__letmein__",
        "passwordpassword",
        "Password1Password1",
        "abcabcabcabc",
        "aaaaaaaaaaaaaaaa",
        "abababababab",
        "1234567890",
        "0987654321",
        "qwertyuiop",
        "poiuytrewq",
        "1q2w3e4r5t6y",
        "12345678901234567890" * 3,
        "\u00a0\u00a0\u00a0",
        "",
    ],
)
def test_a_common_word_a_row_of_keys_or_a_repetition_is_common(password: str) -> None:
    assert common_passwords.is_common(password)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "my password is long",
        "passwordless days",
        "Zwölf Boxkämpfer jagen",
        "kq8-Vw2_ttY",
        "qwertyqwxrty",
        "пароль из слов",
        "漢字かな交じり文",
    ],
)
def test_several_words_and_what_is_drawn_by_lot_are_not(password: str) -> None:
    assert not common_passwords.is_common(password)


@pytest.mark.parametrize(
    "password", ["1" * 1_023 + "x", "ab" * 511 + "c", "x" + "!" * 1_022 + "y", "\ud800" * 9]
)
def test_no_password_takes_long_to_judge(password: str) -> None:
    began = time.process_time()
    common_passwords.is_common(password)
    assert time.process_time() - began < 0.5
