"""Ids that sort by time, and names that can stand anywhere unescaped."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core import ids

times = st.integers(0, 2**48 - 1)
ten_bytes = st.binary(min_size=10, max_size=10)


def test_the_example_of_rfc_9562_comes_out() -> None:
    randomness = bytes.fromhex("0cc3") + bytes.fromhex("18c4dc0c0c07398f")
    assert str(ids.make_uuid7(0x017F22E279B0, randomness)) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(at_ms=times, randomness=ten_bytes)
def test_an_id_is_a_version_7_uuid_that_shows_its_time(at_ms: int, randomness: bytes) -> None:
    made = ids.make_uuid7(at_ms, randomness)
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == at_ms


@given(times=st.tuples(times, times), randomness=st.tuples(ten_bytes, ten_bytes))
def test_ids_sort_by_time(times: tuple[int, int], randomness: tuple[bytes, bytes]) -> None:
    one, other = (ids.make_uuid7(at, noise) for at, noise in zip(times, randomness, strict=True))
    if times[0] != times[1]:
        assert (one < other) == (times[0] < times[1])


@given(at_ms=times, randomness=ten_bytes, bit=st.integers(0, 73))
def test_every_random_bit_that_fits_counts(at_ms: int, randomness: bytes, bit: int) -> None:
    number = int.from_bytes(randomness, "big")
    place = bit if bit < 62 else bit + 2
    flipped = (number ^ 1 << place).to_bytes(10, "big")
    assert ids.make_uuid7(at_ms, randomness) != ids.make_uuid7(at_ms, flipped)


@pytest.mark.parametrize(("at_ms", "length"), [(-1, 10), (2**48, 10), (0, 9), (0, 11)])
def test_times_and_randomness_that_do_not_fit_are_refused(at_ms: int, length: int) -> None:
    with pytest.raises(errors.InputInvalid):
        ids.make_uuid7(at_ms, bytes(length))


@pytest.mark.parametrize("text", ["a", "7", "node-1", "a" * 63, "a--b"])
def test_a_label_is_a_name(text: str) -> None:
    assert ids.check_name(text, "node") == text


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "A", "a" * 64, "a b", "a.b", "a/b", "ä", "a\n", "\na", "a_b", "٣", "a\x00"]
)
def test_whatever_would_need_escaping_is_no_name(text: str) -> None:
    with pytest.raises(errors.InputInvalid, match="node"):
        ids.check_name(text, "node")
