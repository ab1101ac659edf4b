"""The steps of turns, and the one statement that writes them: leaves and messages first, then turns.

    accept ──> start ──> tell ──> end

A turn waits for the database at each of its steps. So all steps of the turns of one batch go into one call
of `ccn_turns`, together with the leaves and messages of the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from ccn.core.ids import NodeId
from ccn.core.ledger.commitment import Leaf
from ccn.store.connection.calls import call_by_name
from ccn.store.writing import message_rows
from ccn.store.writing.message_rows import Packed, Row


class TurnStep(Enum):
    """What can happen to a turn, in the order in which `ccn_turns` does it."""

    ACCEPT = (
        "accept",
        "accept_ids",
        "accept_in",
        "accept_keys",
        "accept_seqs",
        "accept_epochs",
        "accept_ats",
        "accept_begun",
    )
    START = ("start", "start_ids", "start_epochs", "start_ats")
    TELL = ("tell", "told_in", "told_numbers", "told_kinds", "told_data", "told_epochs", "told_ats")
    END = (
        "end",
        "end_ids",
        "end_epochs",
        "end_statuses",
        "end_replies",
        "end_errors",
        "end_ats",
        "end_nodes",
        "end_leaves",
    )

    columns: tuple[str, ...]
    """The parameters of `ccn_turns` for this step, one for each value of a row."""

    def __new__(cls, name: str, *columns: str) -> TurnStep:
        """Make the name alone the value of a member, so that no two members are equal."""
        step = object.__new__(cls)
        step._value_ = name
        step.columns = columns
        return step


PARAMETERS = (
    "node",
    "leaf_head",
    "leaf_kinds",
    "leaf_bodies",
    *message_rows.COLUMNS,
    *(column for step in TurnStep for column in step.columns),
)
"""The parameters of `ccn_turns`, in the order in which `pack_call` gives them."""


def pack_call(
    node: NodeId,
    head: int,
    leaves: Sequence[Leaf],
    messages: Sequence[Row],
    steps: Mapping[TurnStep, Sequence[Row]],
) -> Packed:
    """Pack all into one call. The leaves follow the node's last one, whose number is `head`."""
    values = [node, head, message_rows.kinds_of(leaves), message_rows.bodies_of(leaves)]
    values += message_rows.rows_to_columns(messages, len(message_rows.COLUMNS))
    for step in TurnStep:
        values += message_rows.rows_to_columns(steps.get(step, ()), len(step.columns))
    return _TURNS, values


_TURNS = f"SELECT {call_by_name('ccn_turns', PARAMETERS)}"
