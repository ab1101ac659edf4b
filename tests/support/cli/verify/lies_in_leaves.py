"""Leaves that nodes seal although they break a rule, and what a verifier must find in each record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.support.cli.verify.forger import Forger, Leaf
from tests.support.cli.verify.leaves import (
    CONVERSATION,
    ELSEWHERE,
    INSTANCE,
    OWNER,
    TURN,
    asked,
    begun,
    ended,
    lived,
    plate,
    redacted,
    replied,
    requested,
    said,
    shown_as,
    snapshot,
    standing,
    standing_instance,
    vector,
    version_row,
)

HERE = f"conversation {CONVERSATION}"
THERE = f"conversation {ELSEWHERE}"
IN_TURN = f"{HERE} turn {TURN}"
SNAPSHOT = f"{HERE} snapshot {snapshot()[0]['snapshot']}"
REQUEST = f"request {requested()[0]['request']}, redact"
SOMEBODY = "01900000-0000-7000-8000-0000000000ff"
Rows = Sequence[dict[str, Any]]


def told(*leaves: Leaf, rows: Rows | None = None, more: Rows = ()) -> bytes:
    """A record of one conversation with these leaves, and the rows that are true of them."""
    forger = Forger()
    forger.seal({"node-1": [begun(), *leaves]})
    if rows is None:
        heads = [
            body["seq"]
            for body, _ in leaves
            if body["kind"] == "message" and body["conversation"] == CONVERSATION
        ]
        rows = [version_row(), standing(max(heads, default=0))]
        if any(body["kind"] == "instance" for body, _ in leaves):
            rows = [*rows, standing_instance()]
    return forger.close(*rows, *more)


def at(place: int) -> str:
    return f"(leaf {place} of node-1, block 1)"


def message(seq: int, place: int) -> str:
    return f"{HERE} message {seq} {at(place)}"


STORIES: dict[str, tuple[bytes, list[str]]] = {
    "a number twice": (
        told(said(1), said(1)),
        [f"{message(1, 3)}: was sealed twice under one sequence number"],
    ),
    "a number that is missing": (told(said(1), said(3)), [f"{HERE} message 2: is missing"]),
    "a second message of a role in a turn": (
        told(asked(1), asked(2), lived(), replied(3), ended(2, 3)),
        [f"{message(2, 3)}: a second user message of turn {TURN}"],
    ),
    "a turn in two conversations": (
        told(asked(1), said(1, conversation=ELSEWHERE, turn=TURN, role="system"), ended(1, None)),
        [
            f"{THERE} message 1 {at(3)}: a second system message of turn {TURN}",
            f"{THERE}: version 1 is missing",
            f"{THERE}: is not shown as it stands now",
        ],
    ),
    "an account that replies in a turn": (
        told(asked(1), replied(2, speaker=f"account:{OWNER}"), ended(1, 2)),
        [f"{message(2, 3)}: account:{OWNER} cannot have said this"],
    ),
    "an instance that speaks as a user": (
        told(lived(), said(1, speaker=f"instance:{INSTANCE}")),
        [f"{message(1, 3)}: instance:{INSTANCE} cannot have said this"],
    ),
    "a speaker that is none": (
        told(said(1, speaker="account:------------------------------------")),
        [
            f"{message(1, 2)}: its speaker is neither an account nor an instance",
            f"{HERE}: ends at message 1, but 0 were said",
        ],
    ),
    "an instance that never was": (
        told(asked(1), replied(2), ended(1, 2)),
        [f"{HERE}: was never one of instance:{INSTANCE}, which speaks in it"],
    ),
    "another text": (
        told(shown_as(said(1), content="never")),
        [f"{message(1, 2)}: its content is not what was committed to"],
    ),
    "a salt of another length": (
        told(shown_as(said(1), salt="00" * 31)),
        [f"{message(1, 2)}: its content is not what was committed to"],
    ),
    "a text without its salt": (
        told(shown_as(said(1), salt=None)),
        [f"{message(1, 2)}: its content or its salt is missing"],
    ),
    "a salt without its text": (
        told(shown_as(said(1), content=None)),
        [f"{message(1, 2)}: its content or its salt is missing"],
    ),
    "a text that is gone": (
        told(said(1, None)),
        [f"{HERE} message 1: its content is missing and no redaction says why"],
    ),
    "a text that was redacted": (
        told(said(1), said(2), redacted(1, 2)),
        [f"{HERE} message {seq}: was redacted, and its content is here" for seq in (1, 2)],
    ),
    "a turn that ends twice": (
        told(asked(1), ended(1, None), ended(1, None)),
        [f"{IN_TURN} {at(4)}: the turn has ended twice, or elsewhere"],
    ),
    "a turn that ends elsewhere": (
        told(asked(1), ended(1, None, conversation=ELSEWHERE)),
        [f"{THERE} turn {TURN} {at(3)}: the turn has ended twice, or elsewhere"],
    ),
    "a turn without the reply that it says": (
        told(asked(1), ended(1, 2)),
        [f"{IN_TURN}: is committed; its reply is None, not 2"],
    ),
    "a committed turn without a reply": (
        told(asked(1), ended(1, None, status="committed")),
        [f"{IN_TURN} {at(3)}: the turn is committed, and its reply None"],
    ),
    "a failed turn with a reply": (
        told(asked(1), lived(), replied(2), ended(1, 2, status="failed")),
        [f"{IN_TURN} {at(5)}: the turn is failed, and its reply 2"],
    ),
    "a turn that answers another message": (
        told(said(1), asked(2), ended(1, None)),
        [f"{IN_TURN}: answers message 1, which is not its own"],
    ),
    "a reply whose turn never ended": (
        told(asked(1), lived(), replied(2)),
        [f"{IN_TURN}: has a reply and no end"],
    ),
    "two versions of an instance with one number": (
        told(lived(), lived()),
        [f"instance {INSTANCE} version 1 {at(3)}: two lives have this version"],
    ),
    "a version of an instance that is missing": (
        told(lived(2), rows=[version_row(), standing(), standing_instance(version=2)]),
        [f"instance {INSTANCE}: version 1 is missing"],
    ),
    "an instance that moves to another conversation": (
        told(
            lived(), lived(2, conversation=ELSEWHERE),
            rows=[version_row(), standing(), standing_instance(version=2)],
        ),
        [f"instance {INSTANCE} version 2 {at(3)}: is another conversation's than before"],
    ),
    "an instance that is not shown": (
        told(lived(), rows=[version_row(), standing()]),
        [f"instance {INSTANCE}: is not shown as it stands now"],
    ),
    "an instance that nothing sealed": (
        told(more=[standing_instance()]),
        [f"instance {INSTANCE}: is shown otherwise than its last version"],
    ),
    "two plates of one number": (
        told(plate(), plate()),
        [f"plate ada version 1 {at(3)}: two plates have this version"],
    ),
    "a plate that is missing": (told(plate(2)), ["character ada: version 1 is missing"]),
    "another plate": (
        told(shown_as(plate(), content="# Eve")),
        [f"plate ada version 1 {at(2)}: the plate is not the one that was imported"],
    ),
    "another snapshot": (
        told(shown_as(snapshot(), state={})),
        [f"{SNAPSHOT} {at(2)}: the snapshot is not the one that was taken"],
    ),
    "a snapshot of another moment": (
        told(snapshot({"head": 7})),
        [
            f"{SNAPSHOT} {at(2)}: the snapshot is of another conversation or moment",
        ],
    ),
    "another request": (
        told(shown_as(requested(), asked={"first": 1})),
        [f"{REQUEST} {at(2)}: its body is not the one that was sealed"],
    ),
    "another outcome of a request": (
        told(shown_as(requested(), answer={"error": "missing"})),
        [f"{REQUEST} {at(2)}: its outcome is not the one that was sealed"],
    ),
    "another error of a request": (
        told(requested(error="missing")),
        [f"{REQUEST} {at(2)}: its error is not the one of its outcome"],
    ),
    "too few scores": (told(vector(1)), [f"vector {CONVERSATION} {at(2)}: this is not a vector"]),
    "a score that is a text": (
        told(vector(*["1"] * 16)),
        [f"vector {CONVERSATION} {at(2)}: this is not a vector"],
    ),
    "a score that is too high": (
        told(vector(*[1_000_001] * 16)),
        [f"vector {CONVERSATION} {at(2)}: this is not a vector"],
    ),
    "a version of the conversation twice": (
        told(begun()),
        [f"conversation {CONVERSATION} {at(2)}: two rows have this version"],
    ),
    "a version of the conversation that is missing": (
        told(begun(3), rows=[version_row(), version_row(3), standing(version=3)]),
        [f"{HERE}: version 2 is missing"],
    ),
    "a conversation without a version": (
        told(said(1, conversation=ELSEWHERE), more=[]),
        [f"{THERE}: version 1 is missing", f"{THERE}: is not shown as it stands now"],
    ),
    "a row that is missing": (
        told(rows=[standing()]),
        [f"{HERE} version 1: its row is missing"],
    ),
    "a row that says something else": (
        told(rows=[version_row(owner=SOMEBODY), standing()]),
        [f"{HERE} version 1: its row says something else than its leaf"],
    ),
    "a row of a version that nothing sealed": (
        told(rows=[version_row(), version_row(2), standing()]),
        [f"{HERE} version 2: has a row and was never sealed"],
    ),
    "a conversation that is not shown": (
        told(rows=[version_row()]),
        [f"{HERE}: is not shown as it stands now"],
    ),
    "a conversation that stands otherwise": (
        told(rows=[version_row(), standing(status="closed")]),
        [f"{HERE}: is shown otherwise than its last version"],
    ),
    "a conversation that goes on": (
        told(said(1), rows=[version_row(), standing(2)]),
        [f"{HERE}: ends at message 2, but 1 were said"],
    ),
    "a row that belongs to nothing": (
        told(more=[{"stray": {"table": "messages", "conversation": CONVERSATION, "seq": 9}}]),
        [f"conversation {CONVERSATION}, seq 9: a row of messages that nothing sealed"],
    ),
    "a leaf of an unknown kind": (
        told(({"kind": "wish", "v": 1}, {})),
        [f"wish {at(2)}: its body is of no known kind"],
    ),
    "a leaf with a field too many": (
        told(plate(note="x")),
        [f"plate ada version 1 {at(2)}: its body does not have the fields of a plate"],
    ),
    "a leaf with a number for a text": (
        told(plate(by=1)),
        [f"plate ada version 1 {at(2)}: its by is not what a plate has"],
    ),
    "a leaf with a number that is too large": (
        told(plate(at=2**53)),
        [f"plate ada version 1 {at(2)}: its at is not what a plate has"],
    ),
    "a leaf with a version 0": (
        told(plate(0)),
        [f"plate ada version 0 {at(2)}: its numbers are not those of a plate"],
    ),
    "a leaf of another form": (
        told(plate(v=2)),
        [f"plate ada version 1 {at(2)}: its numbers are not those of a plate"],
    ),
    "something beside a leaf": (
        told(shown_as(said(1), state={})),
        [f"{message(1, 2)}: nothing sealed its state"],
    ),
}  # fmt: skip
