"""A no and its reason: what a node answers when it does not vote, count or cosign.

A refusal is an ordinary result. It travels back to the leader and ends in the log and in `ccn status`. So
it says which rule was broken (a fixed word, for counters) and how (a sentence, for people).

Here is only how a no looks. Votes are refused in `ballot.judge` and `signer.allow_vote`, reports in
`intake`, cosignatures in `readback` and `signer.allow_cosignature`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Which rule was broken."""

    TERM = "term"  # older than one this node voted in, or not the one the database shows
    LEADER = "leader"  # proposed by somebody who does not lead this term
    TIP = "tip"  # does not follow the block this node knows as the last one
    TWICE = "twice"  # a second block for one height and term
    CLOCK = "clock"  # not later than the previous block, or too far from this node's clock
    RULES = "rules"  # other validators or parameters than those in force
    STRANGER = "stranger"  # said by a node that is no validator
    SIGNATURE = "signature"  # not signed by the node that is supposed to say it
    ROUND = "round"  # a report or vote for another round
    QUORUM = "quorum"  # fewer nodes than must agree
    REPORT = "report"  # this node's own report is not the one it sent
    INSTANCE = "instance"  # an instance that a node names twice
    LEAVES = "leaves"  # numbers with a gap, or hashes other than the ones reported
    RESULT = "result"  # median, drift or outliers come out differently
    ROOT = "root"  # the tree comes out differently
    BACK = "back"  # a block below one this node has cosigned
    SIDEWAYS = "sideways"  # another block at a height this node has cosigned


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not."""

    reason: Reason
    detail: str
