"""A request is either well formed or refused with a status of the API: nothing in it makes a defect."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccn.claude.stand_in import checking, prompt_cache, prompt_reading
from ccn.claude.stand_in.checking import MAX_TOKENS, RequestRefused

MODEL = "claude-test"
MODELS: dict[str, object] = {MODEL: {}}
USER = {"role": "user", "content": "Hello."}
REQUEST = {"model": MODEL, "max_tokens": 10, "messages": [USER]}

# What a program that is wrong puts where a text, a number, a list or an object belongs.
STRANGE = st.recursive(
    st.sampled_from([None, True, 0, 1.5, "", " ", "user", "assistant", "text", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text"]), inner, max_size=4)
    ),
    max_leaves=4,
)


def read(**change: object) -> dict[str, Any]:
    return checking.read_request(write(change), MODELS)


def read_to_count(**change: object) -> dict[str, Any]:
    return checking.read_request(write(change), MODELS, counting=True)


def write(change: dict[str, object]) -> bytes:
    return orjson.dumps({name: value for name, value in {**REQUEST, **change}.items() if value is not ...})


def read_words(request: dict[str, Any]) -> str:
    """Do what the stand-in does with a request that passed."""
    prompt_cache.total_tokens(request)
    return prompt_reading.read_prompt(request).asked + prompt_reading.whole_text(request)


@pytest.mark.parametrize("most", [1, MAX_TOKENS])
def test_a_reply_has_from_one_token_to_the_most_that_a_model_can(most: int) -> None:
    assert read(max_tokens=most)["max_tokens"] == most


@pytest.mark.parametrize("most", [0, -1, MAX_TOKENS + 1, True, 1.5, None, "10", ...])
def test_any_other_number_of_tokens_is_refused(most: object) -> None:
    with pytest.raises(RequestRefused, match="max_tokens") as refused:
        read(max_tokens=most)
    assert (refused.value.status, refused.value.name) == (400, "invalid_request_error")


@pytest.mark.parametrize("most", [0, None, "many", ...])
def test_whoever_only_counts_tokens_needs_no_limit_of_them(most: object) -> None:
    assert read_to_count(max_tokens=most)["model"] == MODEL


@pytest.mark.parametrize("field", ["model", "messages"])
@pytest.mark.parametrize("value", [..., None, 7, {}])
@pytest.mark.parametrize("counting", [False, True])
def test_a_field_that_is_missing_or_of_another_kind_is_named(
    field: str, value: object, counting: bool
) -> None:
    with pytest.raises(RequestRefused, match=f"^{field}: "):
        (read_to_count if counting else read)(**{field: value})


def test_a_model_that_is_not_there_is_not_found() -> None:
    with pytest.raises(RequestRefused) as refused:
        read(model="claude-other")
    assert (refused.value.status, refused.value.name) == (404, "not_found_error")


@pytest.mark.parametrize("role", [[], {}, ["user"], None, 1, "User", "system"])
def test_a_role_of_any_other_kind_is_refused(role: object) -> None:
    with pytest.raises(RequestRefused, match=r"messages\.1\.role"):
        read(messages=[USER, {"role": role, "content": "x"}])


@pytest.mark.parametrize("text", [5, True, ["x"], {"text": "x"}, None, "", "\n\t "])
@pytest.mark.parametrize("where", ["messages", "system"])
def test_a_block_of_text_without_a_text_is_refused(where: str, text: object) -> None:
    blocks = [{"type": "text", "text": "Hello."}, {"type": "text", "text": text}]
    change: dict[str, object] = (
        {"system": blocks} if where == "system" else {"messages": [{"role": "user", "content": blocks}]}
    )
    with pytest.raises(RequestRefused, match=r"(system|messages\.0\.content)\.1: "):
        read(**change)


def test_blocks_of_other_kinds_are_let_through_and_not_read() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "x"}}
    request = read(messages=[{"role": "user", "content": [image, {"type": "text", "text": "Look."}]}])
    assert prompt_reading.read_prompt(request).asked == "Look."


def test_as_many_marks_as_the_api_takes_are_taken() -> None:
    marked = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
    assert read(system=[marked] * prompt_cache.MARKS)
    with pytest.raises(RequestRefused, match="a maximum of 4"):
        read(
            system=[marked] * (prompt_cache.MARKS - 1), messages=[{"role": "user", "content": [marked] * 2}]
        )


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"nul", b"NaN", b'{"a": "\\ud800"}', b"[" * 100_000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(RequestRefused, match="not valid JSON"):
        checking.read_request(body, MODELS)


@pytest.mark.parametrize("body", [b"null", b"[]", b'"x"', b"7"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestRefused, match="not an object"):
        checking.read_request(body, MODELS)


@settings(max_examples=20)
@given(STRANGE, STRANGE)
def test_whatever_a_program_sends_is_read_or_refused(message: object, system: object) -> None:
    try:
        request = read(messages=[message, USER], system=system)
    except RequestRefused:
        return
    assert isinstance(read_words(request), str)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({b"x-api-key": b""}, 401),
        ({b"x-api-key": b"invalid"}, 401),
        ({b"authorization": b"Bearer invalid"}, 401),
        ({b"authorization": b"Bearer "}, 401),
        ({b"x-api-key": b"any"}, 400),
    ],
)
def test_a_request_has_a_key_and_a_version(headers: dict[bytes, bytes], status: int) -> None:
    version = {b"anthropic-version": b"2023-06-01"} if status == 401 else {}
    with pytest.raises(RequestRefused) as refused:
        checking.check_headers({**headers, **version})
    assert refused.value.status == status


@pytest.mark.parametrize("header", [{b"x-api-key": b"any"}, {b"authorization": b"Bearer any"}])
def test_a_key_may_come_in_either_header(header: dict[bytes, bytes]) -> None:
    checking.check_headers({**header, b"anthropic-version": b"2023-06-01"})
