"""The header of a block: one spelling, no circularity, and nothing impossible in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core.chain import header
from ccn.core.chain.header import Header, Span
from ccn.core.ids import NodeId
from ccn.core.ledger import commitment, merkle

if TYPE_CHECKING:
    from tests.support.core.honest_cluster import Cluster

Clusters = Callable[..., "Cluster"]

hashes = st.binary(min_size=32, max_size=32)
names = st.sampled_from([NodeId(f"node-{number}") for number in range(1, 6)])


@st.composite
def headers(draw: st.DrawFn) -> Header:
    nodes = sorted(draw(st.sets(names)))
    spans = [
        Span(node, first := draw(st.integers(1, 2**40)), first + draw(st.integers(0, 999)))
        for node in nodes
    ]
    before = draw(st.integers(0, 2**40))
    return Header(
        height=draw(st.integers(1, 2**40)),
        previous=draw(hashes),
        term=draw(st.integers(0, 2**40)),
        leader=draw(names),
        time_us=draw(st.integers(1, 2**52)),
        validators=draw(hashes),
        parameters=draw(hashes),
        next_validators=draw(hashes),
        next_parameters=draw(hashes),
        reports=draw(hashes),
        result=draw(hashes),
        spans=tuple(spans),
        before_size=before,
        before_root=draw(hashes),
        size=before + sum(span.last - span.first + 1 for span in spans),
        root=draw(hashes),
    )


@given(written=headers())
def test_a_header_is_read_as_it_was_written(written: Header) -> None:
    assert header.parse_header(written.body()) == written


@given(one=headers(), other=headers())
def test_two_headers_have_two_hashes(one: Header, other: Header) -> None:
    assert (one.hash() == other.hash()) == (one == other)


def test_the_hash_of_a_block_is_its_leaf_in_the_tree(cluster: Clusters) -> None:
    three = cluster(3)
    sealed = three.draft().block
    assert sealed.header.hash() == commitment.leaf_hash(sealed.header.body())
    tip = three.commit(three.draft())
    assert tip.tree == merkle.Tree().extend([*sealed.leaves, tip.hash])


def test_size_and_root_leave_the_header_itself_out_and_the_next_block_counts_it(cluster: Clusters) -> None:
    three = cluster(3)
    first = three.draft().block.header
    assert (first.before_size, first.before_root) == (0, merkle.EMPTY)
    assert (first.size, first.count) == (6, 6)
    three.commit(three.draft())
    second = three.draft().block.header
    assert (second.before_size, second.size) == (7, 13)
    assert second.before_root == three.tip.checkpoint().root
    assert second.previous == first.hash()


def plain(**changes: Any) -> Header:
    zero = bytes(32)
    fields: dict[str, Any] = {
        "height": 1,
        "previous": zero,
        "term": 0,
        "leader": NodeId("node-1"),
        "time_us": 1,
        "validators": zero,
        "parameters": zero,
        "next_validators": zero,
        "next_parameters": zero,
        "reports": zero,
        "result": zero,
        "spans": (Span(NodeId("a"), 1, 2), Span(NodeId("b"), 5, 5)),
        "before_size": 10,
        "before_root": zero,
        "size": 13,
        "root": zero,
    }
    return Header(**{**fields, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 0},
        {"term": -1},
        {"time_us": 0},
        {"leader": "Node 1"},
        {"previous": b"short"},
        {"root": bytes(33)},
        {"size": 12},
        {"before_size": -3, "size": 0},
        {"spans": (Span(NodeId("b"), 5, 5), Span(NodeId("a"), 1, 2))},
        {"spans": (Span(NodeId("a"), 1, 1), Span(NodeId("a"), 2, 3))},
        {"spans": (Span(NodeId("a"), 0, 2),)},
        {"spans": (Span(NodeId("a"), 3, 2),), "size": 10},
        {"spans": (Span(NodeId("A"), 1, 3),)},
        {"spans": (Span(NodeId("a"), 1, 10_001),), "size": 10_011},
    ],
)
def test_a_header_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    assert plain().count == 3
    with pytest.raises(errors.InputInvalid):
        plain(**changes)


@given(data=st.data())
def test_a_field_left_out_added_or_of_another_type_is_refused(data: st.DataObject) -> None:
    fields = json.loads(plain().body())
    name = data.draw(st.sampled_from(sorted(fields)))
    other: st.SearchStrategy[object] = (
        st.none() | st.just("No Name") | st.just([1]) | st.just([["a", 1]]) | st.just(-1)
    )
    for changed in (
        {key: value for key, value in fields.items() if key != name},
        {**fields, name: data.draw(other)},
        {**fields, "more": 1},
        {**fields, name: str(fields[name]).upper() + " "},
    ):
        with pytest.raises(errors.InputInvalid):
            header.parse_header(commitment.encode_canonical(changed))


def test_bytes_that_are_no_header_are_refused() -> None:
    for body in (b"", b"{}", b"[]", plain().body()[:-1], plain().body() + b"\n"):
        with pytest.raises(errors.InputInvalid):
            header.parse_header(body)
    assert replace(plain(), term=1) != plain()
