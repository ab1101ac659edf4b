"""`ccn-verify FILE` checks an exported record without CCN and its database, and trusts neither.

This one file needs Python 3.11 and nothing else, so it can be copied, read and run by itself. It imports
nothing of CCN on purpose: every rule is written here a second time, from the page that describes the file.
That page is `ccn/docs/record.md`; docstrings quote the sentence of it that a function checks. With PyNaCl
installed signatures are checked faster.

    0  verified        10  verified, but the newest blocks have too few cosignatures
    20  incomplete: the file ends early        30  contradiction, with the row it is about
    40  this is not an export, or not one that can be read

A record has one spelling. A key that stands twice, an unknown key, another way to write a value and another
order of lines are nothing that an export writes: reading stops there with exit code 40, and the line is
named. So whatever a file shows under exit code 0 is what was sealed.

What exit code 0 proves: everything in the record was sealed by the nodes that its founding names, and
nothing of it was changed, removed, added or moved. What is missing from a whole file is a contradiction.
What it cannot prove: that the founding is the right one (compare it, or pass `--founding`), and that the
record was not cut back to an older one (pass `--checkpoint`, a note kept from an earlier visit).

How the file is laid out:

    verify      reads a record line by line
    Audit       hands each line to those who judge it     LineOrder   the order in which lines stand
    Chain       founding, blocks and checkpoints          Story       conversations, turns and instances
    Findings    what was found, and the verdict
    below them  what a line and a leaf may look like; hashes and trees; blocks; the result of a round;
                checkpoints; Ed25519; what is printed; and last what is only for speed
"""

from __future__ import annotations

import argparse
import base64
import bisect
import hashlib
import io
import json
import math
import multiprocessing
import os
import re
import struct
import sys
from binascii import unhexlify
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from json.decoder import scanstring  # type: ignore[attr-defined]  # the one that knows its end
from json.encoder import encode_basestring as _quote
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from uuid import UUID

try:  # only for speed: this file can check signatures itself
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import BadSignatureError
except ImportError:
    QUICK = False
else:
    QUICK = True

VERIFIED, UNSIGNED, INCOMPLETE, CONTRADICTION, INVALID = 0, 10, 20, 30, 40
VERDICTS = {
    VERIFIED: "verified",
    UNSIGNED: "verified, but not enough cosignatures",
    INCOMPLETE: "incomplete",
    CONTRADICTION: "contradiction",
    INVALID: "invalid input",
}
VERSIONS = (1, 2)
LINE_LIMIT = 64 * 1024 * 1024
FINDING_LIMIT = 1_000
INTEGERS = 2**53 - 1
UNIT = 1_000_000  # a score of 1
MISSING = -1  # a score that could not be observed
AXES = 16
BLOCK_LIMIT = 10_000
VALIDATOR_LIMIT = 64
PROTOCOL = 2  # the highest that this verifier knows
_ROSTER_ROW = struct.Struct(">16sq16i")  # instance, epoch, scores
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ORIGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,198}[A-Za-z0-9])?")
_HASH = re.compile(r"[0-9a-f]{64}")
_ACTS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify the file that the arguments name; the exit code is the verdict."""
    options = _parse_arguments(arguments)
    try:
        known = [_read_kept_checkpoint(path) for path in options.checkpoint]
        founding = options.founding and options.founding.strip().lower()
        if founding is not None and re.fullmatch("[0-9a-f]{64}", founding) is None:
            raise RecordError("--founding: this is no hash, which has 64 digits from 0 to f")
        with Path(options.file).open("rb") as record:
            audit = verify(record, founding, known, options.processes)
    except (OSError, RecordError) as refused:
        audit = Audit()
        audit.findings.invalid = _explain(refused)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a hostile name must not end in a traceback
    sys.stdout.write(render_json(audit) if options.json else render_text(audit, options.file))
    return audit.code


def _read_kept_checkpoint(path: str) -> CheckpointHead:
    """Read a checkpoint from an earlier visit."""
    try:
        return parse_note(Path(path).read_text())
    except (OSError, UnicodeDecodeError, RecordError) as refused:
        raise RecordError(f"--checkpoint {path}: {_explain(refused)}") from None


def _explain(refused: Exception) -> str:
    """Say why a file was refused, to people who do not know Python."""
    match refused:
        case OSError():
            return f"it cannot be read: {refused.strerror}"
        case UnicodeDecodeError():
            return "this is no text"
    return str(refused)


def run() -> None:
    """Run the console script."""
    sys.exit(main())


class ProtocolError(Exception):
    """The record goes on in a way that this verifier is too old to judge."""


class RecordError(Exception):
    """Something in the record is impossible; the message says what."""


CAUSE, OF_A_ROW, OF_A_BLOCK = -1, 0, 1  # the ranks of findings: what explains others comes first


class Finding(NamedTuple):
    """One contradiction: the row or block, and what is wrong with it."""

    rank: int
    where: str
    what: str


def verify(
    record: BinaryIO,
    founding: str | None = None,
    known: Sequence[CheckpointHead] = (),
    workers: int | None = 0,
) -> Audit:
    """Read a whole record and judge it.

    `founding` is the hash that the record must have, `known` are checkpoints from earlier visits. `workers`
    is how many other processes help, None for as many as are useful.
    """
    audit = Audit(founding, known)
    try:
        read_record(audit, record, workers)
        audit.finish()
    except (RecordError, ProtocolError) as refused:
        audit.findings.invalid = f"line {audit.number}: {refused}"
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        # The line has another shape than an export gives it. Lines of the right shape never come here:
        # whatever they say is judged by the rules, and none of these errors is a verdict on it.
        audit.findings.invalid = f"line {audit.number} is no line of an export"
    return audit


def read_lines(audit: Audit, record: BinaryIO, _workers: int | None = None) -> None:
    """Judge each line of a record by itself, in order."""
    while line := record.readline(LINE_LIMIT + 1):
        audit.read_line(line)


read_record: Callable[[Audit, BinaryIO, int | None], None] = read_lines


class Audit:
    """Reads a record: hands each line to those who judge it."""

    def __init__(self, founding: str | None = None, known: Sequence[CheckpointHead] = ()) -> None:
        self.findings = Findings()
        self.story = Story(self.findings)
        self.chain = Chain(self.findings, self.story, founding, {head.size: head for head in known})
        self.order = LineOrder(self.chain)
        self.number = 0

    @property
    def code(self) -> int:
        """The verdict, which is the exit code."""
        return self.findings.code

    def read_line(self, line: bytes) -> None:
        """Judge the next line, given as it stands in the file."""
        self.number += 1
        if len(line) > LINE_LIMIT:
            raise RecordError(f"it is over the limit of {LINE_LIMIT} bytes")
        if not line.endswith(b"\n"):
            self.findings.cut = f"line {self.number} is cut off"
            return
        parsed = parse_line(line[:-1].decode())
        kind = next(iter(parsed))
        self.order.check(kind, parsed, self.number)
        self._hand_on(kind, parsed)

    def _hand_on(self, kind: str, line: dict[str, Any]) -> None:
        match kind:
            case "record":
                self.chain.read_founding(line)
            case "block":
                self.chain.read_block(line)
            case "roster":
                self.chain.read_roster(line["roster"])
            case "leaf":
                leaf = leaf_from_line(line, self.chain.shown)
                if self.chain.place_leaf(leaf):
                    self.findings.count("leaves")
                    self.story.judge_leaf(leaf)
            case "checkpoint":
                self.chain.read_checkpoint(line["checkpoint"])
            case "waiting":
                node, number, body = line["waiting"]
                self.findings.count("waiting")
                self.chain.note_waiting(node, number)
                self.story.judge_leaf(AuditedLeaf(body, {}, (node, number)))
            case "conversation":
                self.story.read_version(line["conversation"])
            case "standing":
                self.story.read_standing(line["standing"])
            case "stray":
                self.story.read_stray(line["stray"])
            case "end" if line["end"]["lines"] != self.number - 1:
                self.findings.cut = f"{self.number - 1} of {line['end']['lines']} lines are here"

    def finish(self) -> None:
        """Judge what only the whole record can show, after its last line."""
        if not self.chain.version:
            raise RecordError("there is no record in it")
        if self.chain.version == 1 and (self.story.names_speakers or self.chain.names_owners):
            raise RecordError("it calls itself version 1, which names neither speakers nor owners")
        if not self.order.ended:
            self.findings.cut = self.findings.cut or "it has no end"
            return
        self.findings.final = self.chain.is_final
        self.chain.finish()
        self.story.finish()


class LineOrder:
    """The order in which the lines of a record stand, so that nothing can be shown twice."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.last: Position = ()
        self.ended = False

    def check(self, kind: str, line: dict[str, Any], number: int) -> None:
        """Refuse a line that stands in another place than an export puts it.

        Lines: "Within each kind lines ascend, and none has the place of another"
        """
        if self.ended:
            raise RecordError("something follows the end")
        if (number == 1) != (kind == "record"):
            raise RecordError(
                "this is not the first line of an export" if number == 1 else "this is a second first line"
            )
        # Conclude the block before the order is judged: the position depends on the height that it has.
        if kind not in {"roster", "leaf"}:
            self.chain.conclude_block()
        position = position_of(kind, line, self.chain.shown, number)
        if _begins_anew(kind, position, self.last):
            self.chain.miss_block()
            position = (self.chain.shown, *position[1:])
        if position:
            if not self.last < position:
                raise RecordError("it stands twice, or below a line that follows it")
            self.last = position
        self.ended = kind == "end"


Position = tuple[Any, ...]
# The lines of a block in their order, then those that stand below all blocks.
_HEADER, _ROSTER, _LEAF, _CHECKPOINT, _WAITING, _VERSION, _CONVERSATION, _INSTANCE, _STRAY, _END = range(10)


def _begins_anew(kind: str, position: Position, last: Position) -> bool:
    """Whether a line can only belong to the next block, whose first line is missing."""
    of_a_block = kind in {"roster", "leaf", "checkpoint"}
    return of_a_block and position[:1] == last[:1] and position[1] < last[1]


def position_of(kind: str, line: dict[str, Any], height: int, number: int) -> Position:
    """Tell where a line stands: at the height of its block or below all blocks, by its kind, by its key.

    Empty for a leaf that does not name its place: it is judged by what its block seals.
    """
    value = line[kind]
    part: Position
    match kind:
        case "record":
            part = (_HEADER,)
        case "block":
            part, height = (_HEADER,), line["row"]["height"]
        case "roster":
            part = (_ROSTER, value["node"], value["character"])
        case "leaf":
            node, leaf = place_of_leaf(line)
            if type(node) is not str or type(leaf) is not int:
                return ()
            part = (_LEAF, node, leaf)
        case "checkpoint":
            part = (_CHECKPOINT, value["size"])
        case "waiting":
            part = (_WAITING, value[0], value[1])
        case "conversation":
            part = (_VERSION, value["conversation"], value["version"])
        case "standing" if "instance" in value:
            part = (_INSTANCE, value["instance"])
        case "standing":
            part = (_CONVERSATION, value["conversation"])
        case _:
            part = (_STRAY if kind == "stray" else _END, number)
    return (height if part[0] <= _CHECKPOINT else math.inf, *part)


@dataclass(slots=True)
class Findings:
    """What was found in a record, and the verdict that follows from it."""

    contradictions: list[Finding] = field(default_factory=list)
    total: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    invalid: str = ""
    cut: str = ""
    final: bool = False

    @property
    def code(self) -> int:
        """The verdict: the worst of all that was found."""
        if self.invalid:
            return INVALID
        if self.contradictions:
            return CONTRADICTION
        if self.cut:
            return INCOMPLETE
        return VERIFIED if self.final else UNSIGNED

    @property
    def ordered(self) -> list[Finding]:
        """The contradictions, first those that explain others."""
        return sorted(self.contradictions, key=lambda finding: finding.rank)

    def add(self, where: object, what: str, rank: int = OF_A_ROW) -> None:
        """Write a contradiction down. All are counted; only the first FINDING_LIMIT are listed."""
        finding = Finding(rank, str(where), what)
        self.total += 1
        if len(self.contradictions) < FINDING_LIMIT:
            self.contradictions.append(finding)

    def count(self, what: str, by: int = 1) -> None:
        """Count something that is in the record."""
        self.counts[what] = self.counts.get(what, 0) + by


# -- the chain: founding, blocks, checkpoints --------------------------------------------------------------


@dataclass(slots=True)
class Chain:
    """The blocks that were read so far, and what the next one must follow.

    A block is judged after all its lines were read. `unbroken` says that no header was missing or
    unreadable so far, `grown` that the tree of the log is known. Once one of them is False, whatever
    depends on it is not judged any more: it could only repeat what was found.

    `rules` decide the next block, `deciding` decided the last one. `shown` is the height of the last block
    that has a line, `height` of the last one that was judged.
    """

    findings: Findings
    story: Story
    wanted_founding: str | None
    brought: dict[int, CheckpointHead]

    version: int = 0
    origin: str = ""
    genesis: bytes = b""
    names_owners: bool = False
    rules: VotingRules | None = None
    deciding: VotingRules | None = None
    unbroken: bool = True
    grown: bool = True

    shown: int = 0
    block: AuditedBlock | None = None
    height: int = 0
    hash: bytes = b""
    term: int = 0
    time_us: int = 0
    size: int = 0
    peaks: list[bytes] = field(default_factory=list)
    sealed: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, GaplessNumbers] = field(default_factory=dict)

    final_size: int = 0
    final_height: int = 0
    cosigners: list[str] = field(default_factory=list)

    @property
    def is_final(self) -> bool:
        """Whether the checkpoint of the last block has a quorum of cosignatures.

        Rule 8: "The record is *final* up to the last block whose checkpoint has a quorum of them."
        """
        return self.size > 0 and self.final_size == self.size

    def read_founding(self, line: dict[str, Any]) -> None:
        """Read the first line: the name of the log, and who votes first."""
        if line["record"] != "ccn" or line["version"] not in VERSIONS:
            raise RecordError("this is not the first line of an export of a version that is known here")
        self.origin, self.version = line["origin"], line["version"]
        try:
            if not _ORIGIN.fullmatch(self.origin):
                raise RecordError(f"{self.origin[:80]!r} is not the name of a log")
            self.rules = parse_rules(line["validators"], line["parameters"])
            self.genesis = self.hash = genesis_hash(self.origin, self.rules)
            _check_founding_row(line["row"], self.genesis)
            self.term = line["row"]["term"]  # nothing is signed about it but that later terms are not lower
        except RecordError as wrong:
            self.findings.add("the founding (block 0)", f"{wrong}", CAUSE)
            self.unbroken = self.rules is not None
        if self.wanted_founding is not None and self.wanted_founding != self.genesis.hex():
            wrong_one = f"is {self.genesis.hex()}, not the one you named"
            self.findings.add("the founding (block 0)", wrong_one, CAUSE)

    def read_block(self, line: dict[str, Any]) -> None:
        """Read the first line of a block. The leaves that it seals stand on the lines below it."""
        _check_lists(line)
        height = line["row"]["height"]
        if height != self.shown + 1:
            missing = f"is missing: block {height} is the next one"
            self.findings.add(f"block {self.shown + 1}", missing, CAUSE)
        self.shown = height
        try:
            body, header = parse_header(line["block"])
        except RecordError as wrong:
            self.findings.add(f"block {height}", f"{wrong}", CAUSE)
            self.unbroken = self.grown = False
            return
        self.block = AuditedBlock(line, header, body)
        self.findings.count("blocks")

    def miss_block(self) -> None:
        """Note that the first line of a block is missing, while others of its lines are here."""
        self.conclude_block()
        self.shown += 1
        missing = "is missing: lines are here that can only be its own"
        self.findings.add(f"block {self.shown}", missing, CAUSE)
        self.unbroken = False

    def read_roster(self, roster: dict[str, Any]) -> None:
        """Read which instances of one character a node reports."""
        if self.block is None:
            if self.unbroken:
                self.findings.add(f"a roster of {roster['node'][:80]}", "belongs to no block")
            return
        self.names_owners |= "owners" in roster
        packed, owners = base64.b64decode(roster["packed"]), base64.b64decode(roster.get("owners", ""))
        audited = AuditedRoster(roster["character"], packed, owners)
        self.block.rosters.setdefault(roster["node"], []).append(audited)

    def place_leaf(self, leaf: AuditedLeaf) -> bool:
        """Put a leaf where its block seals it. False if the block seals no such leaf, or has it already.

        Rule 9: "Exactly those that the spans name."
        """
        if self.block is not None:
            slot = self.block.find_slot(*leaf.place)
            if slot is None or self.block.leaves[slot] is not None:
                self.findings.add(leaf, "is not among the leaves that its block seals, or twice")
                return False
            self.block.leaves[slot] = leaf.hash
        elif self.unbroken:  # else its block has no header to say what it seals
            self.findings.add(leaf, "belongs to no block")
        return True

    def note_waiting(self, node: str, number: int) -> None:
        """Note a leaf that no block has sealed. Its number must go on from the last one sealed."""
        self.waiting.setdefault(node, GaplessNumbers()).add(number - self.sealed.get(node, 0))

    def conclude_block(self) -> None:
        """Judge the block whose lines were read, and let the next one follow it, right or wrong."""
        block, self.block = self.block, None
        if block is None:
            return
        for where in block.missing_leaves():
            self.findings.add(where, "was sealed and is missing")
        if not self.unbroken or self.rules is None:
            return
        # The order matters: a block is checked against the state that the one before it left, its tree
        # grows after that, and a checkpoint that was brought is compared with the tree that it grew to.
        for what in self._check_block(block, self.rules):
            self.findings.add(block.where, what, OF_A_BLOCK)
        self._follow(block, self.rules)
        self._grow_tree(block)
        self._compare_brought(block)
        self._take_rules(block)

    def _check_block(self, block: AuditedBlock, rules: VotingRules) -> Iterator[str]:
        """Check everything about a block but the tree that its leaves make."""
        yield from self._check_link(block.header)
        yield from _check_rules_in_force(block.header, rules)
        yield from _check_row(block)
        yield from _check_votes(block, rules, self.findings)
        yield from self._check_reports(block, rules)
        before = block.header["before_size"], block.header["before_root"]
        if self.grown and before != (self.size, tree_root(self.peaks).hex()):
            yield "begins with another tree than the blocks before it made"

    def _check_link(self, header: dict[str, Any]) -> Iterator[str]:
        """Check that a block follows the one before.

        Rule 2: "Heights go up by one. `previous` is the hash of the block before, which is the leaf hash of
        its header. Terms never go down, times go up."
        """
        if (header["height"], header["previous"]) != (self.height + 1, self.hash.hex()):
            yield f"does not follow block {self.height}: what comes between them is missing or was changed"
        if header["term"] < self.term or header["time_us"] <= self.time_us:
            yield "its term or its time went back"

    def _check_reports(self, block: AuditedBlock, rules: VotingRules) -> Iterator[str]:
        """Check the reports, and compute again everything that follows from them.

        Rule 3: "At least a quorum."
        """
        reports = block.line["reports"]
        if len(reports) < rules.quorum:
            yield f"has reports of {len(reports)} nodes; {rules.quorum} are needed"
        strangers = block.rosters.keys() - {report["node"] for report in reports}
        if strangers:
            yield f"has a roster of {min(strangers)}, which reported nothing"
        statements = []
        for report in reports:
            try:
                statements.append(check_report(report, block, rules, self.sealed.get(report["node"], 0)))
                self.findings.count("signatures")
            except RecordError as wrong:
                yield f"{wrong}"
        if len(statements) != len(reports):
            return  # nothing can follow from a report that nobody signed
        yield from _check_spans(block, reports, statements)
        yield from _check_rules_wanted(block, rules, reports)
        yield from _check_results(block, rules, reports)
        for claim in _read_claims(block):
            match self.story.compare_owner(claim):
                case None:
                    self.story.claims.append(claim)  # perhaps a later block seals whose it is
                case False:
                    yield claim.wrong

    def _follow(self, block: AuditedBlock, rules: VotingRules) -> None:
        """Let the next block follow this one."""
        header = block.header
        self.hash = sha256(b"\0" + block.body)
        self.height = header["height"]
        self.term = header["term"]
        self.time_us = header["time_us"]
        for node, _, last in header["spans"]:
            self.sealed[node] = last
        self.deciding = rules

    def _grow_tree(self, block: AuditedBlock) -> None:
        """Append the leaves of a block and then its header to the tree.

        Rule 4: "The tree with these leaves, node after node, has the `size` and `root` of the header; then
        the header itself is appended. `size`, `root` and `tree` of the row are those after it; `tree` is
        the size (8 bytes, big-endian) and the roots of its perfect parts, the largest first."
        """
        header, row = block.header, block.line["row"]
        if self.grown:
            leaves = [leaf for leaf in block.leaves if leaf is not None]
            self.size, self.peaks = extend_tree(leaves, self.size, self.peaks)
            if (self.size, tree_root(self.peaks).hex()) != (header["size"], header["root"]):
                wrong = f"its leaves do not make the tree that was voted for: {_describe_spans(header)}"
                self.findings.add(block.where, wrong, OF_A_BLOCK)
                self.grown = False
        if not self.grown:  # no tree can be followed any more; its size still can
            self.size = header["size"] + 1
            return
        self.size, self.peaks = extend_tree([self.hash], self.size, self.peaks)
        tree = self.size.to_bytes(8, "big") + b"".join(self.peaks)
        made = self.size, tree_root(self.peaks).hex(), tree.hex()
        if (row["size"], row["root"], row["tree"]) != made:
            wrong = "the tree in its row is not the one its leaves make"
            self.findings.add(block.where, wrong, OF_A_BLOCK)

    def _compare_brought(self, block: AuditedBlock) -> None:
        """Compare the tree with a checkpoint of this size from an earlier visit."""
        head = self.brought.pop(self.size, None)
        if head is not None and self.grown and head != (self.origin, self.size, tree_root(self.peaks)):
            wrong = "contradicts the checkpoint you brought: another tree of this size"
            self.findings.add(block.where, wrong, OF_A_BLOCK)

    def _take_rules(self, block: AuditedBlock) -> None:
        """Let the next block be decided by the rules to which this one changes."""
        try:
            self.rules = parse_new_rules(block) or self.rules
        except RecordError:
            self.unbroken = False  # the reason was found when the block was checked

    def read_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Read a checkpoint with its cosignatures, which stands below its block.

        Rule 8: "Checkpoints are about a block's end: its size and root."
        """
        if any(not a < b for a, b in pairwise(signer for signer, _ in checkpoint["cosignatures"])):
            raise RecordError("its cosignatures are not in order, or one stands twice")
        where = f"checkpoint {checkpoint['size']}"
        try:
            head = parse_note(checkpoint["note"] + "\n")
            if (head.origin, head.size) != (self.origin, checkpoint["size"]):
                raise RecordError("is about another log or size")
            if head_text(head) != checkpoint["note"].encode():
                raise RecordError("says more than a checkpoint does")
        except RecordError as wrong:
            self.findings.add(where, f"{wrong}", OF_A_BLOCK)
            return
        if not self.unbroken or self.deciding is None:
            return
        if head.size != self.size:
            self.findings.add(where, "there is no block that ends there", OF_A_BLOCK)
        elif self.grown and head.root != tree_root(self.peaks):
            self.findings.add(where, "its root is not the one the leaves make", OF_A_BLOCK)
        cosigners = self._check_cosignatures(checkpoint["cosignatures"], head, self.deciding)
        if len(cosigners) >= self.deciding.quorum:
            self.final_size, self.final_height = self.size, self.height
            self.cosigners = sorted(cosigners)
        self.findings.count("checkpoints")

    def _check_cosignatures(
        self, lines: list[list[str]], head: CheckpointHead, rules: VotingRules
    ) -> set[str]:
        """Return the validators whose cosignatures are good.

        Rule 8: "The name of a node is `ORIGIN/NODE`."
        Rule 8: "Other signers are not checked."
        """
        validators = {f"{self.origin}/{node}": (node, key) for node, key in rules.keys.items()}
        cosigners = set()
        for signer, line in lines:
            try:
                cosignature = parse_cosignature(line)
                if cosignature.name != signer:
                    raise RecordError(f"the cosignature of {signer} is one of {cosignature.name}")
                if signer not in validators:
                    self.findings.count("strangers")
                    continue
                node, key = validators[signer]
                check_cosignature(cosignature, node, key, head)
                cosigners.add(node)
                self.findings.count("signatures")
            except RecordError as wrong:
                self.findings.add(f"checkpoint {head.size}", f"{wrong}", OF_A_BLOCK)
        return cosigners

    def finish(self) -> None:
        """Judge what is left after the last block: checkpoints from earlier visits, and waiting leaves."""
        for head in self.brought.values():
            if head.size or head.origin != self.origin:
                what = f"you brought it, and no block ends there (the record ends at {self.size})"
                self.findings.add(f"checkpoint {head.size}", f"{what}: cut back, or another log", CAUSE)
        for node, numbers in self.waiting.items():
            if numbers.ahead and self.unbroken:
                gap = self.sealed.get(node, 0) + numbers.upto + 1
                self.findings.add(f"leaf {gap} of {node}", "is missing, though not sealed")


@dataclass(slots=True)
class AuditedBlock:
    """A block while its lines are being read.

    `spans` says for each node the first and last number that it seals, and where these begin in `leaves`.
    """

    line: dict[str, Any]
    header: dict[str, Any]
    body: bytes
    spans: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    leaves: list[bytes | None] = field(default_factory=list)
    rosters: dict[str, list[AuditedRoster]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make room for the leaves that it seals."""
        for node, first, last in self.header["spans"]:
            self.spans[node] = (first, last, len(self.leaves))
            self.leaves += [None] * (last - first + 1)

    @property
    def where(self) -> str:
        """Its name in findings."""
        return f"block {self.header['height']}"

    def find_slot(self, node: Any, number: Any) -> int | None:
        """Where a leaf stands in `leaves`; None if the block does not seal it."""
        first, last, start = self.spans.get(node, (1, 0, 0))
        return start + number - first if type(number) is int and first <= number <= last else None

    def missing_leaves(self) -> Iterator[str]:
        """The names of the leaves that it seals and that are not here."""
        if None not in self.leaves:
            return
        for node, (first, last, start) in self.spans.items():
            for number in range(first, last + 1):
                if self.leaves[start + number - first] is None:
                    yield f"{self.where}, leaf {number} of {node}"


class AuditedRoster(NamedTuple):
    """The instances of a character that one node reports, and their owners."""

    character: str
    packed: bytes
    owners: bytes

    @property
    def named(self) -> list[str]:
        """How a report names it."""
        rows = [self.character, sha256(self.packed).hex()]
        return [*rows, sha256(self.owners).hex()] if self.owners else rows


class OwnerClaim(NamedTuple):
    """What a roster says of one instance: its owner, under a pseudonym of this round."""

    where: str
    node: str
    instance: str
    pseudonym: bytes
    previous: bytes
    character: bytes

    def is_of(self, owner: str | None) -> bool:
        """Whether the pseudonym is this owner's.

        roster: "They are the first 8 bytes of the hash of `ccn/owner/v1`, a line feed, the hash of the
        block before, the owner's id (16 bytes, all 0 for none) and the character."
        """
        try:
            owner_id = UUID(int=0) if owner is None else UUID(owner)
        except ValueError:
            return False
        named = self.previous + owner_id.bytes + self.character
        return sha256(b"ccn/owner/v1\n" + named)[:8] == self.pseudonym

    @property
    def wrong(self) -> str:
        """The finding if the claim is false."""
        return f"the roster of {self.node} gives instance {self.instance} to somebody else than its owner"


@dataclass(slots=True)
class VotingRules:
    """Who votes, and how."""

    keys: dict[str, bytes]
    parameters: dict[str, Any]
    validators_hash: bytes
    parameters_hash: bytes

    @property
    def byzantine(self) -> bool:
        """Whether nodes may lie, and not only crash."""
        return bool(self.parameters["faults"] == "byzantine")

    @property
    def owned(self) -> bool:
        """Whether a median weighs owners alike. By the first rules it weighed instances, or nodes."""
        return bool(self.parameters.get("weighing") == "owners")

    @property
    def protocol(self) -> int:
        """What the nodes speak. The first one is not named."""
        return int(self.parameters.get("protocol", 1))

    @property
    def liars(self) -> int:
        """How many nodes may lie.

        Rule 6: "f = ⌊(n − 1)/3⌋"
        """
        return (len(self.keys) - 1) // 3 if self.byzantine else 0

    @property
    def quorum(self) -> int:
        """How many nodes must agree.

        Rule 3: "A quorum is ⌊n/2⌋ + 1 of n validators, with byzantine faults ⌊2n/3⌋ + 1."
        """
        n = len(self.keys)
        return 2 * n // 3 + 1 if self.byzantine else n // 2 + 1

    def hash(self) -> bytes:
        """How a report names them.

        Rule 3: "the hash of the two hashes of the rules the node would like, joined"
        """
        return sha256(self.validators_hash + self.parameters_hash)


class CheckpointHead(NamedTuple):
    """What a checkpoint says: the size and the root of a log's tree."""

    origin: str
    size: int
    root: bytes


# -- the story: conversations, turns, instances ------------------------------------------------------------


@dataclass(slots=True)
class Story:
    """What the leaves say: each is judged by the rules of its kind, and at the end all of them together.

    A leaf that no block has sealed yet proves nothing and can contradict nothing. It is taken in all the
    same, so that what is sealed does not look incomplete where only a block is still to come.
    """

    findings: Findings
    names_speakers: bool = False
    conversations: dict[str, AuditedConversation] = field(default_factory=dict)
    turns: dict[str, AuditedTurn] = field(default_factory=dict)
    instances: dict[str, AuditedInstance] = field(default_factory=dict)
    plates: dict[str, GaplessNumbers] = field(default_factory=dict)
    speakers: set[tuple[str, str]] = field(default_factory=set)
    claims: list[OwnerClaim] = field(default_factory=list)
    forgotten_before: int = -(1 << 62)
    vectors_gone: list[tuple[int, str]] = field(default_factory=list)

    def judge_leaf(self, leaf: AuditedLeaf) -> None:
        """Judge a leaf and everything that is shown beside it."""
        body, line = leaf.body, leaf.line
        if "hash" in line:
            self.findings.add(leaf, f"its hash was {line['hash'][:16]}…, and is {leaf.hash.hex()[:16]}…")
        if "as" in line:
            self.findings.add(leaf, f"its body names itself {leaf.own_name}")
        try:
            check_body(body)
            if not leaf.sealed and (body["node"], body["number"]) != leaf.place:
                raise RecordError(f"its body names itself leaf {body['number']} of {body['node']}")
            judge = JUDGES.get(body["kind"])
            if judge is not None:
                judge(self, leaf)
            if "rows" in line:
                self._check_rows(leaf, line["rows"])
            check_shown(leaf)
        except RecordError as wrong:
            self.findings.add(leaf, f"{wrong}")

    def _contradict(self, leaf: AuditedLeaf, what: str) -> None:
        if leaf.sealed:
            self.findings.add(leaf, what)

    def _count(self, leaf: AuditedLeaf, what: str) -> None:
        if leaf.sealed:
            self.findings.count(what)

    # -- one leaf ------------------------------------------------------------------------------------------

    def judge_message(self, leaf: AuditedLeaf) -> None:
        """Judge a message: its number, its turn, its speaker, and its content where that is here."""
        body = leaf.body
        conversation = self.get_conversation(body["conversation"])
        self._count(leaf, "messages")
        if not conversation.messages.add(body["seq"]):
            self._contradict(leaf, "was sealed twice under one sequence number")
        self._take_into_turn(leaf)
        if not leaf.sealed:
            conversation.waiting.add(body["seq"])
            return
        self._check_speaker(body)
        match "content" in leaf.line, "salt" in leaf.line:
            case False, False:
                conversation.silent.add(body["seq"])
            case True, True:
                self.findings.count("disclosed")
                check_content(body["content"], leaf.line["content"], leaf.line["salt"])
            case _:
                raise RecordError("its content or its salt is missing")

    def _take_into_turn(self, leaf: AuditedLeaf) -> None:
        """Take a message into its turn, which has one of each role, all in one conversation."""
        body = leaf.body
        turn_id, role = body["turn"], body["role"]
        if turn_id is None:
            return
        turn = self.get_turn(turn_id, body["conversation"])
        if role in turn.messages or turn.conversation != body["conversation"]:
            self._contradict(leaf, f"a second {role} message of turn {turn_id}")
        if leaf.sealed or role not in turn.messages:
            turn.messages[role] = body["seq"]

    def _check_speaker(self, body: dict[str, Any]) -> None:
        """Check that whoever is named as the speaker can have said a message.

        Rule 10: "In version 2 the speaker of a message is an instance exactly if its role is `assistant`
        and it belongs to a turn; that instance is one of the conversation."
        Rule 10: "Whatever else has the role `assistant`, in either version, was recorded by an account
        through a loop of its own: no instance said it."
        """
        replied = body["role"] == "assistant" and body["turn"] is not None
        if body["role"] == "assistant" and not replied:
            self.findings.count("recorded")
        if body["v"] == 1:
            return
        self.names_speakers = True
        if body["speaker"].startswith("instance:") != replied:
            raise RecordError(f"{body['speaker']} cannot have said this")
        if replied:
            self.speakers.add((body["conversation"], body["speaker"]))

    def judge_turn(self, leaf: AuditedLeaf) -> None:
        """Judge the end of a turn. What it says of messages is compared when all of them were read.

        Rule 11: "A turn ends once, and has its reply where it says so."
        """
        body = leaf.body
        turn = self.get_turn(body["turn"], body["conversation"])
        self._count(leaf, "turns")
        if turn.end is not None or turn.conversation != body["conversation"]:
            self._contradict(leaf, "the turn has ended twice, or elsewhere")
        if (body["status"] == "committed") != (body["reply"] is not None):
            self._contradict(leaf, f"the turn is {body['status']}, and its reply {body['reply']}")
        if leaf.sealed or turn.end is None:
            turn.end = (body["status"], body["user"], body["reply"])

    def judge_instance(self, leaf: AuditedLeaf) -> None:
        """Judge a version of an instance."""
        body = leaf.body
        instance = self.get_instance(body["instance"], body["conversation"])
        self._count(leaf, "instance versions")
        if not instance.versions.add(body["version"]):
            self._contradict(leaf, "two lives have this version")
        if instance.conversation != body["conversation"]:
            self._contradict(leaf, "is another conversation's than before")
        if body["version"] > instance.newest[0]:
            instance.newest = (body["version"], (body["host"], body["epoch"], body["status"]))

    def judge_plate(self, leaf: AuditedLeaf) -> None:
        """Judge a version of a plate, whose content is always shown.

        Rule 9: "A plate and a snapshot have their hashes."
        """
        body = leaf.body
        self._count(leaf, "plates")
        if not self.plates.setdefault(body["character"], GaplessNumbers()).add(body["version"]):
            self._contradict(leaf, "two plates have this version")
        content = leaf.line.get("content")
        if leaf.sealed and (type(content) is not str or sha256(content.encode()).hex() != body["hash"]):
            raise RecordError("the plate is not the one that was imported")

    def judge_snapshot(self, leaf: AuditedLeaf) -> None:
        """Judge a snapshot, whose state is always shown.

        Rule 9: "A plate and a snapshot have their hashes."
        """
        if not leaf.sealed:
            return
        body, state = leaf.body, leaf.line.get("state")
        self.findings.count("snapshots")
        if type(state) is not dict or sha256(encode_canonical(state)).hex() != body["hash"]:
            raise RecordError("the snapshot is not the one that was taken")
        if any(state.get(key) != body[key] for key in ("at", "conversation", "head")):
            raise RecordError("the snapshot is of another conversation or moment")

    def judge_redaction(self, leaf: AuditedLeaf) -> None:
        """Note what may be missing: contents of messages, or all of a series before a time."""
        body = leaf.body
        self.findings.count("redactions")
        if "series" not in body:
            self.get_conversation(body["conversation"]).redacted.append((body["first"], body["last"]))
        elif body["series"] == "character_evolution":
            self.forgotten_before = max(self.forgotten_before, body["before"])

    def judge_request(self, leaf: AuditedLeaf) -> None:
        """Judge an operator's request. What was asked and what came of it are always shown.

        Rule 9: "`body` and `outcome` of a request are the hashes of `asked` and `answer` with sorted keys."
        """
        if not leaf.sealed:
            return
        body, line = leaf.body, leaf.line
        self.findings.count("operator requests")
        documents = {"body": line.get("asked"), "outcome": line.get("answer")}
        for key, value in documents.items():
            if type(value) is not dict or sha256(_spell_sorted(value)).hex() != body[key]:
                raise RecordError(f"its {key} is not the one that was sealed")
        if line["answer"].get("error") != body["error"]:
            raise RecordError("its error is not the one of its outcome")

    def judge_conversation(self, leaf: AuditedLeaf) -> None:
        """Judge a version of a conversation."""
        body = leaf.body
        conversation = self.get_conversation(body["conversation"])
        if not conversation.versions.add(body["version"]):
            self._contradict(leaf, "two rows have this version")
        if leaf.sealed or body["version"] not in conversation.values:
            conversation.values[body["version"]] = _version_values(body)

    def judge_vector(self, leaf: AuditedLeaf) -> None:
        """Judge the scores of a message.

        Bodies of leaves: "`vector`: sixteen scores or nulls"
        """
        if not leaf.sealed:
            return
        vector = leaf.body["vector"]
        self.findings.count("vectors")
        if len(vector) != AXES or any(score is not None and not 0 <= score <= UNIT for score in vector):
            raise RecordError("this is not a vector")

    def _check_rows(self, leaf: AuditedLeaf, rows: list[dict[str, Any]]) -> None:
        """Judge the rows that name a leaf.

        leaf: "the rows that name this leaf, where they are not exactly the one that says the same; empty
        where there is none"
        """
        body = leaf.body
        table = TABLES.get(body["kind"], "")
        own = [row for row in rows if row["table"] == table]
        for row in rows:
            if row["table"] != table:
                self.findings.add(leaf, f"a row of {row['table']} names this leaf: {_name_row(row)}")
        if table == "character_evolution" and not own:
            self.vectors_gone.append((body["at"], f"{leaf}"))
        elif len(own) != 1:
            self.findings.add(leaf, f"has {len(own)} rows in {table}")
        for row in own:
            columns = (row.keys() | body.keys() - _COMMON.keys()) - {"table"}
            if table == "messages":
                columns -= {"content"}
            known = SHAPES[body["kind"]]
            other = {key for key in columns if key not in known or row.get(key) != body.get(key)}
            if other:
                names = ", ".join(sorted(other))
                self.findings.add(leaf, f"the row in {table} says something else: {names}")
            elif len(rows) == 1:
                self.findings.add(leaf, f"repeats the row in {table}, which says the same")

    def get_conversation(self, conversation_id: str) -> AuditedConversation:
        """Return what is known of a conversation."""
        conversation = self.conversations.get(conversation_id)
        if conversation is None:
            conversation = self.conversations[conversation_id] = AuditedConversation()
        return conversation

    def get_turn(self, turn_id: str, conversation_id: str) -> AuditedTurn:
        """Return what is known of a turn. One that is new belongs to this conversation."""
        return self.turns.setdefault(turn_id, AuditedTurn(conversation_id))

    def get_instance(self, instance_id: str, conversation_id: str) -> AuditedInstance:
        """Return what is known of an instance. One that is new belongs to this conversation."""
        return self.instances.setdefault(instance_id, AuditedInstance(conversation_id))

    def compare_owner(self, claim: OwnerClaim) -> bool | None:
        """Whether an instance has the owner that a roster claims; None where no leaf tells.

        Rule 6: "An instance of which a life is in the record has the owner that its conversation has."
        """
        instance = self.instances.get(claim.instance)
        conversation = None if instance is None else self.conversations.get(instance.conversation)
        if conversation is None or not conversation.values:
            return None
        return claim.is_of(next(iter(conversation.values.values()))[-1])

    # -- the tables as they stand now ----------------------------------------------------------------------

    def read_version(self, row: dict[str, Any]) -> None:
        """Read the row of a version of a conversation.

        Rule 11: "Every version of a conversation has its row, and every conversation and instance stands as
        its newest version says."
        """
        where = f"conversation {row['conversation']} version {row['version']}"
        conversation = self.conversations.get(row["conversation"])
        if conversation is None or row["version"] not in conversation.values:
            self.findings.add(where, "has a row and was never sealed")
            return
        if conversation.values[row["version"]] != _version_values(row):
            self.findings.add(where, "its row says something else than its leaf")
        conversation.rows.add(row["version"])

    def read_standing(self, row: dict[str, Any]) -> None:
        """Read how a conversation or an instance stands now.

        Rule 11: "every conversation and instance stands as its newest version says."
        """
        if "instance" in row:
            self._read_standing_instance(row)
        else:
            self._read_standing_conversation(row)

    def _read_standing_instance(self, row: dict[str, Any]) -> None:
        instance = self.instances.get(row["instance"], AuditedInstance())
        instance.stands = True
        if instance.newest != (row["version"], (row["host"], row["epoch"], row["status"])):
            self.findings.add(f"instance {row['instance']}", "is shown otherwise than its last version")

    def _read_standing_conversation(self, row: dict[str, Any]) -> None:
        where = f"conversation {row['conversation']}"
        conversation = self.get_conversation(row["conversation"])
        conversation.stands = True
        version = conversation.versions.last
        newest = conversation.values.get(version, ())
        if (row["version"], row["plate"], row["status"]) != (version, *newest[1:3]):
            self.findings.add(where, "is shown otherwise than its last version")
        if row["head"] != conversation.messages.last:
            many = conversation.messages.last
            self.findings.add(where, f"ends at message {row['head']}, but {many} were said")

    def read_stray(self, row: dict[str, Any]) -> None:
        """Read a row that belongs to no leaf or block.

        Rule 11: "There is no stray."
        """
        rank = CAUSE if "height" in row else OF_A_ROW
        self.findings.add(_name_row(row), f"a row of {row['table']} that nothing sealed", rank)

    # -- the whole -----------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Judge what only all leaves and rows together can show."""
        for claim in self.claims:
            if self.compare_owner(claim) is False:
                self.findings.add(claim.where, claim.wrong, OF_A_BLOCK)
        for conversation_id, conversation in self.conversations.items():
            self._check_conversation(f"conversation {conversation_id}", conversation)
        for turn_id, turn in self.turns.items():
            self._check_turn(f"conversation {turn.conversation} turn {turn_id}", turn)
        for instance_id, instance in self.instances.items():
            self._check_versions(f"instance {instance_id}", instance.versions)
        for character, versions in self.plates.items():
            self._check_versions(f"character {character}", versions)
        self._check_speaking_instances()
        for instance_id, instance in self.instances.items():
            if not instance.stands:
                self.findings.add(f"instance {instance_id}", "is not shown as it stands now")
        for at, where in self.vectors_gone:
            if at >= self.forgotten_before:
                self.findings.add(where, "its vector is gone and nothing says why")

    def _check_conversation(self, where: str, conversation: AuditedConversation) -> None:
        """Check that a conversation has all its messages, all its versions and their rows.

        Rule 11: "Messages of a conversation are numbered from 1 without gaps; versions of conversations,
        instances and plates too."
        """
        messages, versions = conversation.messages, conversation.versions
        if messages.ahead:
            self.findings.add(f"{where} message {messages.upto + 1}", "is missing")
        if versions.ahead or not versions.upto:
            self.findings.add(where, f"version {versions.upto + 1} is missing")
        for version in sorted(conversation.values.keys() - conversation.rows):
            self.findings.add(f"{where} version {version}", "its row is missing")
        if not conversation.stands:
            self.findings.add(where, "is not shown as it stands now")
        self._check_redactions(where, conversation)

    def _check_redactions(self, where: str, conversation: AuditedConversation) -> None:
        """Check that content is missing exactly where it was redacted.

        Rule 9: "without content and salt a redaction must cover it, and what a redaction covers must not be
        shown."
        """
        ranges, silent = merge_ranges(conversation.redacted), conversation.silent
        redacted = 0
        for seq in sorted(silent):
            if covers(ranges, seq):
                redacted += 1
            else:
                missing = "its content is missing and no redaction says why"
                self.findings.add(f"{where} message {seq}", missing)
        self.findings.count("redacted", redacted)
        for seq in conversation.messages.within(ranges):
            if seq not in silent and seq not in conversation.waiting:
                self.findings.add(f"{where} message {seq}", "was redacted, and its content is here")

    def _check_turn(self, where: str, turn: AuditedTurn) -> None:
        """Check that the messages of a turn are those that its end names.

        Rule 11: "A turn ends once, and has its reply where it says so."
        """
        if turn.end is None:
            if "assistant" in turn.messages:
                self.findings.add(where, "has a reply and no end")
            return
        status, user, reply = turn.end
        if turn.messages.get("user") != user:
            self.findings.add(where, f"answers message {user}, which is not its own")
        if turn.messages.get("assistant") != reply:
            message = turn.messages.get("assistant")
            self.findings.add(where, f"is {status}; its reply is {message}, not {reply}")

    def _check_versions(self, where: str, versions: GaplessNumbers) -> None:
        """Check that no version of an instance or a plate is missing.

        Rule 11: "versions of conversations, instances and plates too."
        """
        if versions.ahead:
            self.findings.add(where, f"version {versions.upto + 1} is missing")

    def _check_speaking_instances(self) -> None:
        """Check that the instances that speak in a conversation are its own.

        Rule 10: "that instance is one of the conversation."
        """
        for conversation_id, speaker in sorted(self.speakers):
            instance = self.instances.get(speaker.removeprefix("instance:"), AuditedInstance())
            if instance.conversation != conversation_id:
                what = f"was never one of {speaker}, which speaks in it"
                self.findings.add(f"conversation {conversation_id}", what)


JUDGES: dict[str, Callable[[Story, AuditedLeaf], None]] = {
    "message": Story.judge_message,
    "turn": Story.judge_turn,
    "instance": Story.judge_instance,
    "plate": Story.judge_plate,
    "snapshot": Story.judge_snapshot,
    "redaction": Story.judge_redaction,
    "conversation": Story.judge_conversation,
    "vector": Story.judge_vector,
    "operator": Story.judge_request,
}
SHOWN_BESIDE = {
    "message": {"content", "salt"},
    "plate": {"content"},
    "snapshot": {"state"},
    "operator": {"asked", "answer"},
}
TABLES = {
    "message": "messages",
    "turn": "turns",
    "instance": "instance_lives",
    "plate": "plates",
    "snapshot": "snapshots",
    "redaction": "redactions",
    "vector": "character_evolution",
    "operator": "operator_requests",
}


class GaplessNumbers:
    """Numbers from 1 that must all come, once each, in any order.

    All up to `upto` have come, and of those beyond it the ones in `ahead`.
    """

    __slots__ = ("ahead", "upto")

    def __init__(self) -> None:
        self.upto = 0
        self.ahead: set[int] = set()

    def add(self, number: int) -> bool:
        """Take in a number; False if it came before."""
        if number == self.upto + 1:
            self.upto = number
            while self.ahead and self.upto + 1 in self.ahead:
                self.upto += 1
                self.ahead.remove(self.upto)
            return True
        if number <= self.upto or number in self.ahead:
            return False
        self.ahead.add(number)
        return True

    def within(self, ranges: Sequence[tuple[int, int]]) -> Iterator[int]:
        """Those of them that lie in one of the ascending ranges."""
        # A record can claim ranges of any length: count only through numbers that have come.
        for first, last in ranges:
            yield from range(max(first, 1), min(last, self.upto) + 1)
        yield from (number for number in sorted(self.ahead) if covers(ranges, number))

    @property
    def last(self) -> int:
        """The highest number."""
        return max(self.ahead, default=self.upto)


@dataclass(slots=True)
class AuditedConversation:
    """What is known of one conversation.

    Of messages, by their numbers: which have a leaf, show no content, wait, were redacted. Of versions:
    which have a leaf, what these say, which have a row. And whether it is shown how it stands now.
    """

    messages: GaplessNumbers = field(default_factory=GaplessNumbers)
    silent: set[int] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    redacted: list[tuple[int, int]] = field(default_factory=list)
    versions: GaplessNumbers = field(default_factory=GaplessNumbers)
    values: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    rows: set[int] = field(default_factory=set)
    stands: bool = False


@dataclass(slots=True)
class AuditedTurn:
    """What is known of one turn: the numbers of its messages by role; its status, message and reply."""

    conversation: str
    messages: dict[str, int] = field(default_factory=dict)
    end: tuple[str, int, int | None] | None = None


@dataclass(slots=True)
class AuditedInstance:
    """What is known of one instance: its versions, and what the newest says of host, epoch and status."""

    conversation: str = ""
    versions: GaplessNumbers = field(default_factory=GaplessNumbers)
    newest: tuple[int, tuple[Any, ...]] = (0, ())
    stands: bool = False


class AuditedLeaf(NamedTuple):
    """A leaf: its body, its line, its node and number, and if it is sealed the height and its hash."""

    body: Any
    line: Mapping[str, Any]
    place: tuple[Any, Any]
    sealed: bool = False
    height: int = 0
    hash: bytes = b""

    @property
    def own_name(self) -> str:
        """What the body says of itself."""
        body = self.body if type(self.body) is dict else {}
        return f"leaf {body.get('number')} of {body.get('node')}, {body.get('kind')}"

    def __str__(self) -> str:
        """The name of the leaf in a finding."""
        node, number = self.place
        if not self.sealed:
            return f"leaf {number} of {node}, not sealed"
        leaf = f"leaf {number} of {node}, block {self.height}"
        body = self.body if type(self.body) is dict else {}
        kind = body.get("kind")
        for what, key in (("message", "seq"), ("snapshot", "snapshot"), ("turn", "turn")):
            if kind == what:
                return f"conversation {body.get('conversation')} {what} {body.get(key)} ({leaf})"
        if kind in {"instance", "plate"}:
            whose = body.get("instance", body.get("character"))
            return f"{kind} {whose} version {body.get('version')} ({leaf})"
        if kind == "operator":
            return f"request {body.get('request')}, {body.get('command')} ({leaf})"
        return f"{body.get('kind', 'a row')} {body.get('conversation', '')} ({leaf})".replace("  ", " ")


def place_of_leaf(line: Mapping[str, Any]) -> tuple[Any, Any]:
    """Tell the node and the number of a leaf: those of its body, unless its table says others."""
    if "as" in line:
        return line["as"][0], line["as"][1]
    body = line["leaf"]
    return (body.get("node"), body.get("number")) if type(body) is dict else (None, None)


def leaf_from_line(line: Mapping[str, Any], height: int) -> AuditedLeaf:
    """Read the leaf on a line, which belongs to the block of this height.

    What must hold: "A leaf's hash is that of 0x00 and its canonical bytes, as in RFC 6962."
    """
    body = line["leaf"]
    spelled = _spell_sorted(body) if type(body) is dict else base64.b64decode(body, validate=True)
    return AuditedLeaf(body, line, place_of_leaf(line), True, height, sha256(b"\0" + spelled))


def check_content(committed: str, content: str, salt: str) -> None:
    """Refuse a text that is not the one whose hash was sealed.

    Rule 9: "A message's `content` is the hash of `ccn/content/v1`, 0x00, the salt, the length of the text
    in bytes (8 bytes, big-endian) and the text"
    """
    text = content.encode()
    framed = bytes.fromhex(salt) + len(text).to_bytes(8, "big") + text
    if len(salt) != 64 or sha256(b"ccn/content/v1\0" + framed).hex() != committed:
        raise RecordError("its content is not what was committed to")


def check_shown(leaf: AuditedLeaf) -> None:
    """Refuse what is shown beside a leaf and stands under no hash.

    Rule 9: "Nothing else is shown beside a leaf."
    """
    sealed = SHOWN_BESIDE.get(leaf.body["kind"], set())
    more = leaf.line.keys() - {"leaf", "as", "hash", "rows"} - sealed
    if more:
        raise RecordError(f"nothing sealed its {min(more)}")


# -- what a line may look like -----------------------------------------------------------------------------

Form = Any
"""What a value looks like: a dict is an object with these keys in this order, a list one of any length, a
tuple a list of this length, and a function says yes or no."""


class Maybe(NamedTuple):
    """The form of a value that may be left out of an object."""

    form: Form


def parse_line(spelled: str) -> dict[str, Any]:
    """Read the object on a line, which has one spelling and the keys of its kind.

    One spelling: "a verifier refuses (exit code 40, with the line) whatever is written otherwise."
    """
    line = _decode(spelled)
    if type(line) is not dict:
        raise RecordError("this is no object")
    if _spell(line) != spelled:
        raise RecordError(_explain_spelling(spelled, _spell(line)))
    kind = next(iter(line), "")
    if kind not in FORMS:
        raise RecordError(f"a line of an unknown kind: {kind[:40]!r}")
    check_form(line, FORMS[kind], kind)
    return line


def _explain_spelling(spelled: str, canonical: str) -> str:
    """Say in what a line differs from its one spelling.

    One spelling: "No key twice in an object"
    """
    doubled: list[str] = []

    def note_doubled(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        unique = dict(pairs)
        if len(unique) < len(pairs):
            times = _count_each(name for name, _ in pairs)
            doubled.extend(name for name, _ in pairs if times[name] > 1)
        return unique

    json.loads(spelled, object_pairs_hook=note_doubled)
    if doubled:
        return f"the key {doubled[0][:40]!r} stands twice in one object"
    pairs = enumerate(zip(spelled, canonical, strict=False))
    column = next((place for place, (a, b) in pairs if a != b), min(len(spelled), len(canonical)))
    return f"it is spelled otherwise than an export spells it, from character {column + 1} on"


def check_form(value: Any, form: Form, name: str) -> None:
    """Refuse a value that does not have this form; `name` is its key, for the message."""
    if isinstance(form, dict):
        _check_object(value, form, name)
    elif isinstance(form, list):
        if type(value) is not list:
            raise RecordError(f"its {name} is no list")
        for item in value:
            check_form(item, form[0], name)
    elif isinstance(form, tuple):
        if type(value) is not list or len(value) != len(form):
            raise RecordError(f"its {name} is no list of {len(form)}")
        for item, wanted in zip(value, form, strict=True):
            check_form(item, wanted, name)
    elif not form(value):
        raise RecordError(f"its {name} is nothing that an export writes there")


def _check_object(value: Any, form: dict[str, Form], name: str) -> None:
    """Refuse an object with other keys, or with these in another order.

    One spelling: "Keys stand in the order in which this page lists them."
    """
    if type(value) is not dict:
        raise RecordError(f"its {name} is no object")
    wanted = [key for key, inner in form.items() if key in value or type(inner) is not Maybe]
    if list(value) != wanted:
        strange = [key for key in value if key not in form]
        missing = [key for key in wanted if key not in value]
        if strange:
            raise RecordError(f"its {name} has a key that nobody knows, {strange[0][:40]!r}")
        raise RecordError(
            f"its {name} has no {missing[0]}" if missing else f"the keys of its {name} are not in order"
        )
    for key in wanted:
        inner = form[key]
        check_form(value[key], inner.form if type(inner) is Maybe else inner, key)


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_number(value: Any) -> bool:
    """Whether a column of the database can hold it.

    One spelling: "Numbers are whole, without sign but `-`, without leading zeros, from −2⁶³ to 2⁶³ − 1"
    """
    return type(value) is int and -(2**63) <= value < 2**63


def _is_hex(value: Any) -> bool:
    """Whether it is a string of bytes, two lower-case digits each."""
    return type(value) is str and _HEX_PAIRS.fullmatch(value) is not None


def _is_base64(value: Any) -> bool:
    """Whether it is the one spelling of some bytes."""
    try:
        return type(value) is str and base64.b64encode(base64.b64decode(value)).decode() == value
    except ValueError:
        return False


def _is_owners(value: Any) -> bool:
    """Whether it names the owner of one instance at least."""
    return _is_base64(value) and value != ""


def _is_hashed(value: Any) -> bool:
    """Whether it is an object with sorted keys, or in base64 bytes that spell none.

    One spelling: "In hashed objects they are sorted by their code points."
    """
    return list(value) == sorted(value) if type(value) is dict else _is_base64(value)


def _is_document(value: Any) -> bool:
    """Whether it is an object as PostgreSQL keeps it, or in base64 bytes that spell none.

    One spelling: "In documents, at every depth, the key with fewer bytes of UTF-8 stands first, and of two
    with as many bytes the one whose bytes are lower"
    """
    return _is_nested(value) if type(value) is dict else _is_base64(value)


def _is_nested(value: Any) -> bool:
    if type(value) is dict:
        return list(value) == sorted(value, key=_order_of_jsonb) and all(map(_is_nested, value.values()))
    return all(map(_is_nested, value)) if type(value) is list else type(value) is bool or _is_plain(value)


def _order_of_jsonb(key: str) -> tuple[int, bytes]:
    spelled = key.encode("utf-8", "surrogatepass")
    return len(spelled), spelled


def _is_table_row(value: Any) -> bool:
    """Whether it is a row of any table: the name of the table, then the columns, sorted."""
    if type(value) is not dict or not _is_text(value.get("table")):
        return False
    columns = [key for key in value if key != "table"]
    return list(value) == ["table", *sorted(columns)] and all(map(_is_column, value.values()))


def _is_column(value: Any) -> bool:
    return (
        value is None
        or _is_text(value)
        or _is_number(value)
        or (type(value) is list and all(map(_is_plain, value)))
    )


def _is_standing(value: Any) -> bool:
    form = _STANDING["instance" if type(value) is dict and "instance" in value else "conversation"]
    check_form(value, form, "standing")
    return True


def _or_null(rule: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or rule(value)


_HEX_PAIRS = re.compile(r"(?:[0-9a-f]{2})*")
_TEXT, _NUMBER, _HEX, _BASE64, _HASHED, _DOCUMENT = (
    _is_text, _is_number, _is_hex, _is_base64, _is_hashed, _is_document,
)  # fmt: skip
_MAYBE_HEX, _MAYBE_TEXT, _MAYBE_NUMBER = map(_or_null, (_HEX, _TEXT, _NUMBER))
_CHAINED = {
    "height": _NUMBER, "hash": _HEX, "previous": _MAYBE_HEX, "term": _NUMBER, "at": _NUMBER,
    "size": _NUMBER, "root": _HEX, "tree": _MAYBE_HEX,
}  # fmt: skip
_REPORT = {
    "node": _TEXT, "first": _NUMBER, "count": _NUMBER, "leaves": _HEX, "wants": _HEX, "signature": _HEX,
}  # fmt: skip
_VOTE = {"node": _TEXT, "height": _NUMBER, "term": _NUMBER, "hash": _HEX, "signature": _HEX}
_RULES = {"validators": _HASHED, "parameters": _HASHED}
_STANDING = {
    "conversation": {
        "conversation": _TEXT, "version": _NUMBER, "status": _TEXT, "plate": _MAYBE_NUMBER,
        "head": _NUMBER,
    },
    "instance": {
        "instance": _TEXT, "version": _NUMBER, "status": _TEXT, "host": _MAYBE_TEXT, "epoch": _NUMBER,
    },
}  # fmt: skip
FORMS: dict[str, Form] = {
    "record": {"record": _TEXT, "version": _NUMBER, "origin": _TEXT} | _RULES
    | {"row": _CHAINED | {"header": _HEX}},
    "block": {
        "block": _HASHED, "row": _CHAINED | {"spans": [(_TEXT, _NUMBER, _NUMBER, _NUMBER)]},
        "reports": [_REPORT], "votes": [_VOTE], "results": [(_TEXT, _HASHED)], "rules": Maybe(_RULES),
    },
    "roster": {
        "roster": {"node": _TEXT, "character": _TEXT, "packed": _BASE64, "owners": Maybe(_is_owners)},
    },
    "leaf": {
        "leaf": _HASHED, "as": Maybe((_TEXT, _NUMBER, _TEXT)), "hash": Maybe(_HEX), "content": Maybe(_TEXT),
        "salt": Maybe(_HEX), "state": Maybe(_HASHED), "asked": Maybe(_DOCUMENT),
        "answer": Maybe(_DOCUMENT), "rows": Maybe([_is_table_row]),
    },
    "checkpoint": {"checkpoint": {"size": _NUMBER, "note": _TEXT, "cosignatures": [(_TEXT, _TEXT)]}},
    "waiting": {"waiting": (_TEXT, _NUMBER, _HASHED)},
    "conversation": {
        "conversation": {
            "conversation": _TEXT, "version": _NUMBER, "at": _MAYBE_NUMBER, "plate": _MAYBE_NUMBER,
            "status": _MAYBE_TEXT, "character": _MAYBE_TEXT, "owner": _MAYBE_TEXT,
        },
    },
    "standing": {"standing": _is_standing},
    "stray": {"stray": _is_table_row},
    "end": {"end": {"lines": _NUMBER}},
}  # fmt: skip


# -- what a leaf may look like -----------------------------------------------------------------------------

Types = tuple[type, ...]
_INT: Types = (int,)
_STR: Types = (str,)
_LIST: Types = (list,)
_INT_OR_NULL: Types = (int, type(None))
_STR_OR_NULL: Types = (str, type(None))
_COMMON: dict[str, Types] = {"kind": _STR, "node": _STR, "number": _INT, "v": _INT}
_BEFORE_SPEAKERS = _COMMON | {
    "at": _INT, "content": _STR, "conversation": _STR, "epoch": _INT, "role": _STR, "seq": _INT,
    "turn": _STR_OR_NULL,
}  # fmt: skip
SHAPES: dict[str, dict[str, Types]] = {
    "message": _BEFORE_SPEAKERS | {"speaker": _STR},
    "turn": _COMMON | {
        "at": _INT, "conversation": _STR, "epoch": _INT, "error": _STR_OR_NULL, "reply": _INT_OR_NULL,
        "status": _STR, "turn": _STR, "user": _INT,
    },
    "instance": _COMMON | {
        "at": _INT, "conversation": _STR, "epoch": _INT, "host": _STR, "instance": _STR, "model": _STR,
        "plate": _INT, "reason": _STR, "status": _STR, "version": _INT,
    },
    "plate": _COMMON | {"at": _INT, "by": _STR, "character": _STR, "hash": _STR, "version": _INT},
    "snapshot": _COMMON | {
        "at": _INT, "conversation": _STR, "hash": _STR, "head": _INT, "snapshot": _STR,
    },
    "conversation": _COMMON | {
        "at": _INT, "character": _STR, "conversation": _STR, "owner": _STR_OR_NULL, "plate": _INT_OR_NULL,
        "status": _STR, "version": _INT,
    },
    "vector": _COMMON | {
        "at": _INT, "conversation": _STR, "instance": _STR_OR_NULL, "scorer": _STR, "seq": _INT,
        "vector": _LIST,
    },
    "redaction": _COMMON | {
        "at": _INT, "by": _STR, "conversation": _STR, "first": _INT, "last": _INT, "reason": _STR,
    },
    "operator": _COMMON | {
        "asked": _INT, "at": _INT, "body": _STR, "by": _STR, "command": _STR, "error": _STR_OR_NULL,
        "for": _STR_OR_NULL, "outcome": _STR, "request": _STR,
    },
}  # fmt: skip
_FORGOTTEN_SERIES = _COMMON | {"at": _INT, "before": _INT, "by": _STR, "series": _STR}
_SPEAKER = re.compile(r"(?:account|instance):[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_POSITIVE = ("seq", "version", "first", "number")


def check_body(body: Any) -> None:
    """Refuse the body of a leaf that is not canonical, or does not look like one of its kind.

    Bodies of leaves: "Every body has `kind`, `node` (who sealed it), `number` (from 1, without gaps for
    each node) and `v`, and by its kind"
    """
    if type(body) is not dict:
        raise RecordError("its body is not canonical JSON")
    kind, version = body.get("kind"), 2 if body.get("kind") == "message" else 1
    shape = SHAPES.get(f"{kind}")
    if kind == "message" and body.get("v") == 1:
        shape, version = _BEFORE_SPEAKERS, 1
    elif kind == "redaction" and "series" in body:
        shape = _FORGOTTEN_SERIES
    if shape is None:
        encode_canonical(body)
        if kind != "validators":
            raise RecordError("its body is of no known kind")
        return
    if body.keys() != shape.keys():
        raise RecordError(f"its body does not have the fields of a {kind}")
    for key, types in shape.items():
        value = body[key]
        if type(value) not in types or (type(value) is int and not -INTEGERS <= value <= INTEGERS):
            raise RecordError(f"its {key} is not what a {kind} has")
    if body["v"] != version or any(body.get(key, 1) < 1 for key in _POSITIVE):
        raise RecordError(f"its numbers are not those of a {kind}")
    if "speaker" in body and _SPEAKER.fullmatch(body["speaker"]) is None:
        raise RecordError("its speaker is neither an account nor an instance")
    if kind == "vector" and any(type(v) not in {int, type(None)} for v in body["vector"]):
        raise RecordError("this is not a vector")


def _version_values(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a version of a conversation says, in its leaf and in its row alike."""
    return row["at"], row["plate"], row["status"], row["character"], row["owner"]


def _name_row(row: Mapping[str, Any]) -> str:
    """The name of a row in a finding."""
    keys = ("conversation", "seq", "turn", "instance", "version", "character", "height", "node", "leaf")
    return ", ".join(f"{key} {row[key]}" for key in keys if row.get(key) is not None) or f"{row['table']}"


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that touch or overlap, and put them in ascending order."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        elif first <= last:
            joined.append((first, last))
    return joined


def covers(ranges: Sequence[tuple[int, int]], number: int) -> bool:
    """Whether a number lies in one of these ranges, which ascend and do not touch."""
    place = bisect.bisect_right(ranges, number, key=lambda limits: limits[0])
    return place > 0 and number <= ranges[place - 1][1]


# -- bytes -------------------------------------------------------------------------------------------------

_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


def _spell_sorted(value: Any) -> bytes:
    """Spell a value with sorted keys, whatever is in it."""
    return _encode(value).encode("utf-8", "surrogatepass")


def sha256(data: bytes) -> bytes:
    """Hash bytes.

    What must hold: "Hashes are SHA-256."
    """
    return hashlib.sha256(data).digest()


def encode_canonical(fields: Any) -> bytes:
    """Spell an object of strings and integers in the one canonical way (RFC 8785 on these values)."""
    if type(fields) is not dict or not all(key.isascii() and _is_plain(v) for key, v in fields.items()):
        raise RecordError("these are not canonical bytes")
    try:
        return _encode(fields).encode()
    except UnicodeEncodeError:
        raise RecordError("these are not canonical bytes") from None


def _is_plain(value: Any) -> bool:
    """Whether it can stand in a hashed object.

    One spelling: "an object whose values are texts, numbers, `null`, and lists of these (of lists)"
    """
    if type(value) is int:
        return bool(-INTEGERS <= value <= INTEGERS)
    return type(value) is str or value is None or (type(value) is list and all(map(_is_plain, value)))


def encode_statement(kind: str, fields: dict[str, Any]) -> bytes:
    """Spell what a node signs.

    Rule 1: "A *statement* of a kind is the line `ccn/KIND/v1` with its line feed, followed by the canonical
    bytes of its fields."
    """
    return f"ccn/{kind}/v1\n".encode() + encode_canonical(fields)


def _refuse_constant(name: str) -> None:
    raise RecordError(f"{name} is no number of a record")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
_spell = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def extend_tree(leaves: Sequence[bytes], size: int, peaks: list[bytes]) -> tuple[int, list[bytes]]:
    """Append leaf hashes to an RFC 6962 tree, given as its size and the roots of its perfect parts."""
    hasher, at = hashlib.sha256, 0
    while at < len(leaves):
        # The largest perfect part that may begin here and has all its leaves is hashed level by level.
        room = 1 << (len(leaves) - at).bit_length() - 1
        part = min(size & -size, room) if size else room
        level = leaves[at : at + part]
        while len(level) > 1:
            pairs = iter(level)
            level = [
                hasher(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)
            ]
        grown, carry = level[0], size // part
        while carry & 1:
            grown = hasher(b"\1" + peaks.pop() + grown).digest()
            carry >>= 1
        peaks.append(grown)
        size, at = size + part, at + part
    return size, peaks


def tree_root(peaks: Sequence[bytes]) -> bytes:
    """Hash the roots of the perfect parts together, from the smallest to the largest."""
    if not peaks:
        return sha256(b"")
    *larger, hashed = peaks
    for peak in reversed(larger):
        hashed = sha256(b"\1" + peak + hashed)
    return hashed


# -- blocks ------------------------------------------------------------------------------------------------

_HEADER_HASHES = ("before_root", "next_parameters", "next_validators", "parameters", "previous", "reports",
                  "result", "root", "validators")  # fmt: skip
_HEADER_NUMBERS = ("before_size", "height", "size", "term", "time_us", "v")


def parse_header(body: Any) -> tuple[bytes, dict[str, Any]]:
    """Read a header: its canonical bytes and its fields.

    block: "`spans` (a list of `[node, first, last]`, ascending by node, at most 10 000 leaves together)"
    """
    if type(body) is not dict:
        raise RecordError("its header is not canonical JSON")
    raw = encode_canonical(body)
    if body.keys() != {*_HEADER_HASHES, *_HEADER_NUMBERS, "kind", "leader", "spans"}:
        raise RecordError("its header does not have the fields of one")
    if not all(type(body[key]) is str and _HASH.fullmatch(body[key]) for key in _HEADER_HASHES):
        raise RecordError("a hash in its header is none")
    if not all(type(body[key]) is int and body[key] >= 0 for key in _HEADER_NUMBERS):
        raise RecordError("a number in its header is none")
    spans = body["spans"]
    if type(spans) is not list or not all(
        type(span) is list and list(map(type, span)) == [str, int, int] and 1 <= span[1] <= span[2]
        for span in spans
    ):
        raise RecordError("the spans in its header are none")
    nodes = [span[0] for span in spans]
    sealed = sum(last - first + 1 for _, first, last in spans)
    if nodes != sorted(set(nodes)) or not sealed == body["size"] - body["before_size"] <= BLOCK_LIMIT:
        raise RecordError("its header does not count its leaves")
    if (body["kind"], body["v"]) != ("block", 1) or type(body["leader"]) is not str:
        raise RecordError("its header is not one")
    return raw, body


def parse_rules(validators: Any, parameters: Any) -> VotingRules:
    """Read who votes, and how, from the two bodies.

    record: "a list of `[node, key]` with the Ed25519 key in hex, ascending by node, no key twice, 1 to 64
    of them (from 4 if faults are byzantine)"
    record: "`weighing`: where `v` is 2 or 3, `owners`; where it is 1 there is none, and instances are
    weighed; `protocol`: where `v` is 3, the number of the protocol in force, at least 2; elsewhere it is 1"
    """
    validators_body = encode_canonical(validators)
    parameters_body = encode_canonical(parameters)
    if validators.keys() != {"kind", "v", "validators"} or type(validators["validators"]) is not list:
        raise RecordError("these are no validators")
    names: list[str] = []
    keys: dict[str, bytes] = {}
    for entry in validators["validators"]:
        if type(entry) is not list or list(map(type, entry)) != [str, str]:
            raise RecordError("these are no validators")
        if not _NAME.fullmatch(entry[0]) or not _HASH.fullmatch(entry[1]):
            raise RecordError(f"{entry[0][:80]!r} is no validator")
        names.append(entry[0])
        keys[entry[0]] = bytes.fromhex(entry[1])
    if names != sorted(set(names)) or len(set(keys.values())) != len(names):
        raise RecordError("the validators are not listed once each, in order")
    if (
        parameters.get("faults") not in {"crash", "byzantine"}
        or type(parameters.get("tolerance")) is not int
    ):
        raise RecordError("these are no parameters")
    protocol = parameters.get("protocol")
    if type(protocol) is int and protocol > PROTOCOL:
        raise ProtocolError(
            f"the nodes speak protocol {protocol}, and this verifier knows up to {PROTOCOL}"
        )
    if (parameters.get("v"), parameters.get("weighing")) not in {(1, None), (2, "owners"), (3, "owners")}:
        raise RecordError("what these parameters weigh is not known")
    named = type(protocol) is int and protocol > 1
    if named is not (parameters["v"] == 3) or (protocol is not None and not named):
        raise RecordError("these parameters do not name the protocol as their version does")
    least = 4 if parameters["faults"] == "byzantine" else 1
    if not least <= len(names) <= VALIDATOR_LIMIT:
        raise RecordError(f"{len(names)} validators are too few or too many")
    return VotingRules(keys, parameters, sha256(validators_body), sha256(parameters_body))


def parse_new_rules(block: AuditedBlock) -> VotingRules | None:
    """Read the rules to which a block changes; None if it changes none.

    block: "only where the block changes them: `validators` and `parameters` that decide the next block"
    """
    bodies = block.line.get("rules")
    return None if bodies is None else parse_rules(bodies["validators"], bodies["parameters"])


def genesis_hash(origin: str, rules: VotingRules) -> bytes:
    """Compute the hash that the first block follows.

    Rule 1: "The genesis hash is that of the statement `genesis` with `origin`, `parameters` and
    `validators`, the latter two being the hashes of their canonical bytes."
    """
    fields = {
        "origin": origin,
        "parameters": rules.parameters_hash.hex(),
        "validators": rules.validators_hash.hex(),
    }
    return sha256(encode_statement("genesis", fields))


def _check_founding_row(row: dict[str, Any], genesis: bytes) -> None:
    """Refuse a row that is not the one of this founding.

    Rule 1: "The row of height 0 has that hash, size 0, the root of the empty tree, no previous block, no
    tree, the time 0 and an empty header."
    """
    if (row["hash"], row["previous"], row["size"], row["root"], row["header"], row["at"]) != (
        genesis.hex(), None, 0, tree_root([]).hex(), "", 0,
    ):  # fmt: skip
        raise RecordError("its row is not what its rules and its name make it")
    if (row["height"], row["tree"]) != (0, None):
        raise RecordError("its row is not that of a founding")


def _check_lists(line: dict[str, Any]) -> None:
    """Refuse a block whose reports, votes or results are not in order, or stand twice.

    block: "one for each node that reported, ascending by node"
    block: "ascending by node and term"
    block: "`[character, hashed]`, ascending by character"
    """
    for name, keys in (
        ("reports", [(report["node"],) for report in line["reports"]]),
        ("votes", [(vote["node"], vote["term"]) for vote in line["votes"]]),
        ("results", [(character,) for character, _ in line["results"]]),
    ):
        if any(not a < b for a, b in pairwise(keys)):
            raise RecordError(f"its {name} are not in order, or one stands twice")


def _check_rules_in_force(header: dict[str, Any], rules: VotingRules) -> Iterator[str]:
    """Check by which rules a block was decided.

    Rule 2: "`validators` and `parameters` are the hashes of the rules in force."
    """
    in_force = rules.validators_hash.hex(), rules.parameters_hash.hex()
    if (header["validators"], header["parameters"]) != in_force:
        yield "was decided under other rules than those in force"


def _check_row(block: AuditedBlock) -> Iterator[str]:
    """Compare the row of a block with its header.

    Rule 2: "A row says what its header says."
    """
    header, row = block.header, block.line["row"]
    expected = {
        "height": header["height"],
        "hash": sha256(b"\0" + block.body).hex(),
        "previous": header["previous"],
        "term": header["term"],
        "at": header["time_us"],
        "size": header["size"] + 1,
    }
    for key, value in expected.items():
        if row[key] != value:
            yield f"the {key} in its row is {row[key]!r}, in its header {value!r}"
    start = header["before_size"]
    spans = []
    for node, first, last in header["spans"]:
        spans.append([node, first, last, start])
        start += last - first + 1
    if row["spans"] != spans:
        yield f"its row seals {row['spans']}, its header {spans}"


def _check_votes(block: AuditedBlock, rules: VotingRules, findings: Findings) -> Iterator[str]:
    """Check that enough validators voted for a block, each for this one.

    Rule 5: "At least a quorum; each is a validator's signature of the statement `vote` with `block` (the
    hash), `height`, `node` and `term`."
    """
    header = block.header
    block_hash = sha256(b"\0" + block.body).hex()
    ayes = set()
    for vote in block.line["votes"]:
        node = vote["node"]
        aye = {"block": block_hash, "height": header["height"], "node": node, "term": header["term"]}
        claimed = {"block": vote["hash"], "height": vote["height"], "node": node, "term": vote["term"]}
        key = rules.keys.get(node)
        signature = bytes.fromhex(vote["signature"])
        if key is None:
            yield f"has a vote of {node[:80]}, which is no validator"
        elif aye != claimed or not is_signed(key, encode_statement("vote", aye), signature):
            yield f"the vote of {node} is not one for this block"
        else:
            ayes.add(node)
            findings.count("signatures")
    if len(ayes) < rules.quorum:
        yield f"has {len(ayes)} valid votes of {rules.quorum} needed"


def check_report(report: dict[str, Any], block: AuditedBlock, rules: VotingRules, last: int) -> bytes:
    """Check a report, and return the statement that its node signed.

    Rule 3: "Each is signed by a validator: the statement `report` with `count`, `first`, `height`, `leaves`
    (the hash of the leaf hashes that it reports, joined), `node`, `previous`, `rosters` (a list of
    character, hash of `packed`, and hash of `owners` where there are any), `term`, `wants` (the hash of the
    two hashes of the rules the node would like, joined). `first` follows the last leaf sealed of that
    node."
    """
    node, header = report["node"], block.header
    key = rules.keys.get(node)
    if key is None:
        raise RecordError(f"has a report of {node[:80]}, which is no validator")
    message = encode_statement(
        "report",
        {
            "count": report["count"],
            "first": report["first"],
            "height": header["height"],
            "leaves": report["leaves"],
            "node": node,
            "previous": header["previous"],
            "rosters": [roster.named for roster in block.rosters.get(node, [])],
            "term": header["term"],
            "wants": report["wants"],
        },
    )
    if report["first"] != last + 1 or not 0 <= report["count"] <= BLOCK_LIMIT:
        raise RecordError(f"{node} reports leaf {report['first']}, but {last} is sealed")
    if not is_signed(key, message, bytes.fromhex(report["signature"])):
        raise RecordError(
            f"the report of {node} is not what {node} signed: its leaves, instances or numbers differ"
        )
    span = next((span for span in header["spans"] if span[0] == node), None)
    if span is not None and span[2] - span[1] + 1 == report["count"]:
        start = block.spans[node][2]
        shown = [leaf or b"" for leaf in block.leaves[start : start + report["count"]]]
        if sha256(b"".join(shown)).hex() != report["leaves"]:
            raise RecordError(f"leaves {span[1]} to {span[2]} of {node} are not those it reported")
    return message


def share_leaves(reports: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Share a block among the leaves that were reported: what a node leaves of its share goes to others.

    Rule 4: "Of the reports, in ascending order of `count` and node, each gets an equal share of what is
    left of 10 000 leaves; `spans` says what each got."
    """
    granted: dict[str, int] = {}
    waiting = sorted((report["count"], report["node"]) for report in reports)
    for taken, (count, node) in enumerate(waiting):
        fair = (BLOCK_LIMIT - sum(granted.values())) // (len(waiting) - taken)
        granted[node] = min(count, fair)
    return [
        [report["node"], report["first"], report["first"] + granted[report["node"]] - 1]
        for report in reports
        if granted[report["node"]]
    ]


def _check_spans(
    block: AuditedBlock, reports: Sequence[dict[str, Any]], statements: Sequence[bytes]
) -> Iterator[str]:
    """Check that a block was made of these reports, and seals what it must of their leaves.

    Rule 3: "`reports` in the header is the RFC 6962 root over the statements as leaves."
    """
    header = block.header
    _, peaks = extend_tree([sha256(b"\0" + statement) for statement in statements], 0, [])
    if header["reports"] != tree_root(peaks).hex():
        yield "its header names other reports"
    if [list(span) for span in header["spans"]] != share_leaves(reports):
        yield "seals other leaves than its reports bring"


def _check_rules_wanted(
    block: AuditedBlock, rules: VotingRules, reports: Sequence[dict[str, Any]]
) -> Iterator[str]:
    """Check that a block changes the rules only to those that enough nodes want.

    Rule 7: "Rules change only to what a quorum of the reports wanted, and `next_validators`,
    `next_parameters` are theirs. A higher protocol is wanted by all validators, and none is lower."
    """
    try:
        following = parse_new_rules(block)
    except RecordError as wrong:
        yield f"{wrong}"
        return
    if following is not None:
        wanted = sum(report["wants"] == following.hash().hex() for report in reports)
        needed = len(rules.keys) if following.protocol > rules.protocol else rules.quorum
        if wanted < needed or following.hash() == rules.hash():
            yield f"changes the rules, but only {wanted} of {needed} nodes wanted these"
        if following.protocol < rules.protocol:
            yield f"goes back from protocol {rules.protocol} to {following.protocol}"
    following = following or rules
    next_rules = block.header["next_validators"], block.header["next_parameters"]
    if next_rules != (following.validators_hash.hex(), following.parameters_hash.hex()):
        yield "these are not the rules that its header names for the next block"


def _describe_spans(header: dict[str, Any]) -> str:
    return ", ".join(f"{node} {first}–{last}" for node, first, last in header["spans"]) or "none"


# -- the result of a round, in integers --------------------------------------------------------------------


class AuditedRow(NamedTuple):
    """One row of a roster: an instance, the epoch of its host, its scores, and a pseudonym of its owner."""

    id: bytes
    epoch: int
    vector: tuple[int, ...]
    owner: bytes


def _check_results(
    block: AuditedBlock, rules: VotingRules, reports: Sequence[dict[str, Any]]
) -> Iterator[str]:
    """Compute the results again from the rosters.

    Rule 6: "`result` in the header is the hash of `ccn/result/v1`, a line feed, and the bodies, joined by
    line feeds."
    """
    parts: dict[str, list[list[AuditedRow]]] = {}
    claims: dict[bytes, int] = {}
    for report in reports:
        own: set[bytes] = set()
        for roster in block.rosters.get(report["node"], []):
            try:
                rows = unpack_roster(roster, rules)
            except RecordError as wrong:
                yield f"the roster of {report['node']} for {roster.character[:80]}: {wrong}"
                return
            for row in rows:
                claims[row.id] = claims.get(row.id, 0) + 1
            if not own.isdisjoint(ids := {row.id for row in rows}):
                yield f"has a report of {report['node']} that names an instance twice"
            own |= ids
            parts.setdefault(roster.character, []).append(rows)
    names = [character for character, rosters in sorted(parts.items()) if any(rosters)]
    bodies = [compute_result(character, parts[character], claims, rules) for character in names]
    if sha256(b"ccn/result/v1\n" + b"\n".join(bodies)).hex() != block.header["result"]:
        yield "the result in its header is not what its reports make it"
    results = dict(zip(names, bodies, strict=True))
    shown = [(name, _spell_sorted(body)) for name, body in block.line["results"]]
    if shown != list(results.items()):
        other = [name for name, body in shown if results.get(name) != body]
        yield f"the result shown for {', '.join(other) or 'a character'} is not what its reports make it"


def _read_claims(block: AuditedBlock) -> Iterator[OwnerClaim]:
    """Read from the rosters of a block who owns each instance."""
    previous = bytes.fromhex(block.header["previous"])
    for node, rosters in block.rosters.items():
        for roster in rosters:
            character = roster.character.encode("utf-8", "surrogatepass")
            # Half a row or half a pseudonym was found before; here they are left out.
            count = min(len(roster.packed) // _ROSTER_ROW.size, len(roster.owners) // 8)
            rows = _ROSTER_ROW.iter_unpack(roster.packed[: count * _ROSTER_ROW.size])
            for at, (instance, *_) in enumerate(rows):
                pseudonym = roster.owners[8 * at : 8 * at + 8]
                instance_id = str(UUID(bytes=instance))
                yield OwnerClaim(block.where, node, instance_id, pseudonym, previous, character)


def unpack_roster(roster: AuditedRoster, rules: VotingRules) -> list[AuditedRow]:
    """Read the instances of a roster.

    roster: "`packed` has one row of 88 bytes for each instance, ascending by id: the id (16 bytes), the
    epoch of its host (8, signed), sixteen scores (4 each, signed, 0 to 1 000 000, or −1 for one that could
    not be observed); big-endian. `owners` is there exactly if the rules in force weigh owners and there is
    a row: 8 bytes for each row, in the same order."
    """
    packed, owners = roster.packed, roster.owners
    if len(packed) % _ROSTER_ROW.size:
        raise RecordError("a row is cut off")
    count = len(packed) // _ROSTER_ROW.size
    if len(owners) != (8 * count if rules.owned else 0):
        raise RecordError(f"{count} instances have {len(owners)} bytes of owners")
    rows = [
        AuditedRow(instance, epoch, tuple(scores), owners[8 * at : 8 * at + 8])
        for at, (instance, epoch, *scores) in enumerate(_ROSTER_ROW.iter_unpack(packed))
    ]
    if any(a.id >= b.id for a, b in pairwise(rows)):
        raise RecordError("its rows are not in ascending order")
    if any(row.epoch < 0 or not all(MISSING <= v <= UNIT for v in row.vector) for row in rows):
        raise RecordError("an epoch or a score is out of range")
    return rows


def compute_result(
    character: str,
    parts: Sequence[Sequence[AuditedRow]],
    claims: Mapping[bytes, int],
    rules: VotingRules,
) -> bytes:
    """Compute median, drift and outliers of one character; `claims` says how many rows name an instance.

    Rule 6: "Outliers are the places of those whose drift is above the tolerance; disputed are those that
    two nodes report, which are no outliers and, with crash faults, do not count. Places count along the
    reports by node, then along the roster. The body has `character`, `disputed`, `drift`, `kind`
    (`result`), `median`, `outliers`, `owners` (how many counted, on that axis of those with a median that
    has fewest), `v` (2), `weights` (`owner`, or `owner and node`); where instances are weighed no `owners`,
    `v` 1 and `instance` or `node`."
    """
    rows = [(node, row) for node, part in enumerate(parts) for row in part]
    disputed = {place for place, (_, row) in enumerate(rows) if claims[row.id] > 1}
    counted = [row for place, row in enumerate(rows) if rules.byzantine or place not in disputed]
    middle = [
        _compute_median(sorted((row.vector[axis], node, row.owner) for node, row in counted), rules)
        for axis in range(AXES)
    ]
    drift = [_compute_drift(row.vector, middle) for _, row in rows]
    tolerance = rules.parameters["tolerance"]
    body = {
        "character": character,
        "disputed": sorted(disputed),
        "drift": drift,
        "kind": "result",
        "median": middle,
        "outliers": [
            place for place, value in enumerate(drift) if value > tolerance and place not in disputed
        ],
        "v": 1,
        "weights": "node" if rules.byzantine else "instance",
    }
    if rules.owned:
        owners_by_axis = [
            {row.owner for _, row in counted if row.vector[axis] != MISSING} for axis in range(AXES)
        ]
        body |= {"owners": min((len(owners) for owners in owners_by_axis if owners), default=0), "v": 2}
        body["weights"] = "owner and node" if rules.byzantine else "owner"
    return _spell_sorted(body)


def _compute_median(column: list[tuple[int, int, bytes]], rules: VotingRules) -> int | None:
    """Compute the median of an axis from its values in ascending order, with the node and owner of each.

    Rule 6: "For each character with instances: per axis the smallest score that at least half of the weight
    lies at or below, counting instances that have one. Each owner weighs 1, in equal parts for its
    instances."
    Rule 6: "By parameters that weigh instances an instance weighs 1, with byzantine faults each node 1, in
    equal parts for its instances."
    """
    scored = [row for row in column if row[0] != MISSING]
    if not scored:
        return None
    values = [value for value, _, _ in scored]
    if rules.owned and rules.byzantine:
        return _compute_bounded_median(values, [(node, owner) for _, node, owner in scored], rules.liars)
    if not rules.owned and not rules.byzantine:
        return values[(len(values) - 1) // 2]
    groups = [owner if rules.owned else node for _, node, owner in scored]
    counts = _count_each(groups)
    return WeightedValues(values, [counts[group] for group in groups]).median


def _compute_bounded_median(values: list[int], cells: list[tuple[int, bytes]], liars: int) -> int:
    """Compute a median in which no owner and no node weighs more than 1, within bounds that no liars move.

    Rule 6: "With byzantine faults the instances of one owner on one node weigh together one part of so many
    as there are owners on that node, or nodes with that owner, whichever is more, in equal parts; and with
    f = ⌊(n − 1)/3⌋ the median is no lower than the smallest score that more than f, and no higher than the
    smallest that all but f nodes lie at or below, where each node weighs 1, in equal parts for its owners
    and those in equal parts for their instances there. If no more than 2f nodes have such instances, it is
    the median by these weights alone."
    """
    rows = _count_each(cells)
    owners_on = _count_each(node for node, _ in rows)
    nodes_of = _count_each(owner for _, owner in rows)
    even = WeightedValues(values, [owners_on[cell[0]] * rows[cell] for cell in cells])
    if len(owners_on) <= 2 * liars:
        return even.median
    fair = WeightedValues(
        values, [max(owners_on[cell[0]], nodes_of[cell[1]]) * rows[cell] for cell in cells]
    )
    least, most = even.first(liars * even.whole + 1), even.first((len(owners_on) - liars) * even.whole)
    return min(max(fair.median, least), most)


def _count_each(things: Iterable[Any]) -> dict[Any, int]:
    counts: dict[Any, int] = {}
    for thing in things:
        counts[thing] = counts.get(thing, 0) + 1
    return counts


class WeightedValues:
    """Values in ascending order; each weighs one part of so many, in whole numbers of a common part."""

    def __init__(self, values: list[int], parts: list[int]) -> None:
        self.values, self.whole = values, math.lcm(*set(parts))
        self.upto = list(accumulate(self.whole // part for part in parts))

    @property
    def median(self) -> int:
        """The smallest value that at least half of the weight lies at or below."""
        return self.first(-(-self.upto[-1] // 2))

    def first(self, weight: int) -> int:
        """The smallest value that this much weight lies at or below."""
        return self.values[bisect.bisect_left(self.upto, weight)]


def _compute_drift(vector: Sequence[int], middle: Sequence[int | None]) -> int:
    """Compute how far an instance is from the median.

    Rule 6: "Drift is the root mean square distance to it over the axes that both have, rounded up; a
    million if there are none."
    """
    squares = [(v - m) ** 2 for v, m in zip(vector, middle, strict=True) if v != MISSING and m is not None]
    if not squares:
        return UNIT
    mean = -(-sum(squares) // len(squares))
    floor = math.isqrt(mean)
    return floor + (floor * floor < mean)


# -- notes -------------------------------------------------------------------------------------------------


def head_text(head: CheckpointHead) -> bytes:
    """Spell the three lines that are signed.

    checkpoint, waiting, conversation, standing, stray, end: "`note` is `ORIGIN\\nSIZE\\nROOT\\n` with the
    root in base64"
    """
    return f"{head.origin}\n{head.size}\n{base64.b64encode(head.root).decode()}\n".encode()


def parse_note(note: str) -> CheckpointHead:
    """Read the text of a checkpoint, whatever stands below its empty line."""
    lines = note.partition("\n\n")[0].rstrip("\n").split("\n")
    try:
        head = CheckpointHead(lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True))
    except (ValueError, IndexError):
        raise RecordError("this is not a checkpoint") from None
    if len(lines) != 3 or head_text(head).decode() != "\n".join(lines) + "\n" or len(head.root) != 32:
        raise RecordError("this is not a checkpoint")
    return head


class CosignatureLine(NamedTuple):
    """What a line below a note says: who signed, by which key, and the time with the signature."""

    name: str
    key_id: bytes
    data: bytes


def parse_cosignature(line: str) -> CosignatureLine:
    """Read a line below a note.

    checkpoint, waiting, conversation, standing, stray, end: "a line is `— NAME BASE64\\n` (C2SP
    tlog-checkpoint and tlog-cosignature)"
    """
    parts = line.rstrip("\n").split(" ")
    try:
        dash, name, blob = parts
        data = base64.b64decode(blob, validate=True)
    except ValueError:
        raise RecordError(f"{line[:80]!r} is not a cosignature") from None
    if (dash, line) != ("\N{EM DASH}", f"{dash} {name} {base64.b64encode(data).decode()}\n") or not (
        name and len(data) >= 5
    ):
        raise RecordError(f"{line[:80]!r} is not a cosignature")
    return CosignatureLine(name, data[:4], data[4:])


def check_cosignature(cosignature: CosignatureLine, node: str, key: bytes, head: CheckpointHead) -> None:
    """Refuse what is no cosignature of this checkpoint by this validator.

    Rule 8: "A cosignature of a validator is one of `cosignature/v1\\ntime SECONDS\\n` and the note, in the
    line as key id (the first 4 bytes of the hash of the name, a line feed, 0x04 and the key), 8 bytes of
    time and the signature."
    """
    name, key_id, data = cosignature
    if key_id != sha256(name.encode() + b"\n\x04" + key)[:4]:
        raise RecordError(f"the cosignature of {node} names another key")
    seconds = int.from_bytes(data[:8], "big")
    signed = f"cosignature/v1\ntime {seconds}\n".encode() + head_text(head)
    if len(data) != 72 or not is_signed(key, signed, data[8:]):
        raise RecordError(f"{node} did not cosign this")


# -- Ed25519 (RFC 8032) ------------------------------------------------------------------------------------

_P = 2**255 - 19
_Q = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_I_ROOT = pow(2, (_P - 1) // 4, _P)
Point = tuple[int, int, int, int]


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of the key signed the message."""
    if len(key) != 32 or len(signature) != 64:
        return False
    return check_signature(key, message, signature)


def check_signature_quickly(key: bytes, message: bytes, signature: bytes) -> bool:
    """Check a signature with PyNaCl."""
    try:
        crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True


def check_signature_slowly(key: bytes, message: bytes, signature: bytes) -> bool:
    """Check a signature without a library.

    Like libsodium, on which PyNaCl rests, it takes no points of small order: a signature by such a key fits
    any message. The verdict must not depend on what is installed.
    """
    public, commitment = _decode_point(key), _decode_point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if public is None or commitment is None or scalar >= _Q:
        return False
    if _has_small_order(public) or _has_small_order(commitment):
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _Q
    x, y, z, t = public
    minus = (_P - x, y, z, _P - t)
    return _encode_point(_multiply_and_add(scalar, _BASE, challenge, minus)) == signature[:32]


def _decode_point(data: bytes) -> Point | None:
    """Read a point of the curve; None if these bytes are none."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _I_ROOT % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _has_small_order(p: Point) -> bool:
    """Whether eight times the point is the neutral one."""
    for _ in range(3):
        p = _add_points(p, p)
    return p[0] == 0 and p[1] == p[2]


def _add_points(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % _P, (p[1] + p[0]) * (q[1] + q[0]) % _P
    c, d = 2 * p[3] * q[3] * _D % _P, 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiply_and_add(m: int, p: Point, n: int, q: Point) -> Point:
    """Compute m·p + n·q, both at once."""
    both, total = _add_points(p, q), (0, 1, 1, 0)
    for bit in range(max(m.bit_length(), n.bit_length()) - 1, -1, -1):
        total = _add_points(total, total)
        match (m >> bit & 1, n >> bit & 1):
            case (1, 1):
                total = _add_points(total, both)
            case (1, 0):
                total = _add_points(total, p)
            case (0, 1):
                total = _add_points(total, q)
    return total


def _encode_point(p: Point) -> bytes:
    inverse = pow(p[2], _P - 2, _P)
    return (p[1] * inverse % _P | (p[0] * inverse % _P & 1) << 255).to_bytes(32, "little")


_base = _decode_point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little"))
assert _base is not None
_BASE: Point = _base
check_signature: Callable[[bytes, bytes, bytes], bool] = (
    check_signature_quickly if QUICK else check_signature_slowly
)


# -- what is printed ---------------------------------------------------------------------------------------


def render_text(audit: Audit, name: str) -> str:
    """Tell people the verdict, what was verified, and the first things that are wrong."""
    lines = [f"{VERDICTS[audit.code].upper()}: {name}"]
    if audit.findings.invalid:
        return f"{lines[0]}\n  {_escape_controls(audit.findings.invalid)}\n"
    if audit.findings.cut:
        lines.append(f"  the file is incomplete: {audit.findings.cut}")
    findings = audit.findings.ordered
    lines += [f"  {_escape_controls(where)}: {_escape_controls(what)}" for _, where, what in findings[:10]]
    if audit.findings.total > 10:
        lines.append(f"  and {audit.findings.total - 10} more (--json lists them)")
    if not findings:
        lines += _describe_proof(audit)
    return "\n".join(lines) + "\n"


def _escape_controls(text: str) -> str:
    """Escape what could break a line or act on a terminal: names in a record are other people's words."""
    return _ACTS.sub(lambda match: ascii(match[0])[1:-1], text)


def _describe_proof(audit: Audit) -> list[str]:
    """Say what is in the record, who vouches for it, and what it does not prove."""
    counts, rules = audit.findings.counts, audit.chain.deciding or audit.chain.rules
    contents = ", ".join(_say_count(counts[what], what) for what in COUNTED if counts.get(what))
    lines = [
        f"  {audit.chain.origin}, founded as {audit.chain.genesis.hex()}",
        f"  {_say_count(audit.chain.height, 'blocks')}, tree of {audit.chain.size}: {contents}",
    ]
    if rules is not None:
        faults, voting = rules.parameters["faults"], _say_count(len(rules.keys), "validators")
        lines.append(
            f"  {voting}, {faults} faults, quorum {rules.quorum}; "
            f"final up to block {audit.chain.final_height}: "
            + (", ".join(audit.chain.cosigners) or "nobody cosigned")
        )
    if counts.get("waiting"):
        waiting = counts["waiting"]
        verbs = "is not sealed yet and proves" if waiting == 1 else "are not sealed yet and prove"
        lines.append(f"  {_say_count(waiting, 'leaves')} {verbs} nothing")
    if recorded := counts.get("recorded"):
        verb, it = ("was", "it") if recorded == 1 else ("were", "them")
        lines.append(
            f"  {_say_count(recorded, 'replies')} {verb} recorded by an account; no instance said {it}"
        )
    if strangers := counts.get("strangers"):
        lines.append(f"  {_say_count(strangers, 'cosignatures')} of others than validators, not checked")
    if audit.chain.wanted_founding is None:
        lines.append("  compare the founding with what the operators published (--founding)")
    return lines


def _say_count(number: int, what: str) -> str:
    """Say how many there are of something."""
    one = {"leaves": "leaf", "replies": "reply"}.get(what, what.removesuffix("s"))
    return f"{number} {one if number == 1 else what}"


COUNTED = ("leaves", "messages", "disclosed", "redacted", "turns", "instance versions", "vectors", "plates",
           "snapshots", "redactions", "operator requests", "checkpoints", "signatures")  # fmt: skip


def render_json(audit: Audit) -> str:
    """Tell programs the same, and all findings."""
    return (
        json.dumps(
            {
                "verdict": VERDICTS[audit.code],
                "code": audit.code,
                "origin": audit.chain.origin,
                "founding": audit.chain.genesis.hex(),
                "height": audit.chain.height,
                "size": audit.chain.size,
                "final_height": audit.chain.final_height,
                "cosigners": audit.chain.cosigners,
                "counts": audit.findings.counts,
                "reason": audit.findings.invalid or audit.findings.cut,
                "found": audit.findings.total,
                "findings": [{"where": where, "what": what} for _, where, what in audit.findings.ordered],
            }
        )
        + "\n"
    )


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "ccn-verify",
        description="Verify an exported record, without CCN and without its database.",
        epilog="exit codes: " + ", ".join(f"{code} {verdict}" for code, verdict in VERDICTS.items()),
    )
    parser.add_argument("file", metavar="FILE", help="what `ccn record export` wrote")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("--founding", metavar="HASH", help="the founding this record must have")
    parser.add_argument(
        "--checkpoint", metavar="NOTE", action="append", default=[],
        help="a checkpoint kept from an earlier visit; the record must contain it",
    )  # fmt: skip
    parser.add_argument(
        "--processes", metavar="N", type=int,
        help="processes that look at the lines first; 0 for none (default: one a core for a large file)",
    )  # fmt: skip
    return parser.parse_args(arguments)


# -- only for speed ----------------------------------------------------------------------------------------

# Everything from here to the last two lines of the file is only for speed and may be deleted: the verdicts,
# the findings and the counts stay the same, and a record of a million messages takes much longer.
#
# Most lines of a large record are messages. Those that follow each other are taken together as long as
# their numbers go on and none of them breaks a rule. All other lines are judged one by one, as above. So
# are all lines of a chunk with anything odd in it: only then it is said what is wrong.

CHUNK = 1 << 17  # what is made of so much stays in a core's cache
PARALLEL = 16 << 20
WORKERS = 4
_CONTROL = range(32)
_LEAF_HASH, _CONTENT_HASH = hashlib.sha256(b"\0"), hashlib.sha256(b"ccn/content/v1\0")
_LINE = re.compile(rb".+\n?|\n")


def read_quickly(audit: Audit, record: BinaryIO, workers: int | None = None) -> None:
    """Judge the lines of a record as `read_lines` does, many messages at a time."""
    if workers != 0:  # a stream in memory has no file whose size could be asked for
        workers = count_workers(os.fstat(record.fileno()).st_size, workers)
    for seen, read_again in _look_at_chunks(record, workers):
        lines: list[bytes] = []
        for item in seen:
            if isinstance(item, bytes):
                audit.read_line(item)
            elif not _take_run(audit, item):
                lines = lines or _LINE.findall(read_again())
                for line in lines[item.line : item.line + len(item.hashes)]:
                    audit.read_line(line)


def _take_run(audit: Audit, run: MessageRun) -> bool:
    """Take in many messages at once. False, and nothing has changed, if they must be judged one by one."""
    block, story = audit.chain.block, audit.story
    node, count = run.node.decode(), len(run.hashes)
    slots = None if block is None else _find_free_slots(block, node, run)
    position = (audit.chain.shown, _LEAF, node, run.first)
    if block is None or slots is None or not audit.order.last < position or not _goes_on(story, run):
        return False
    block.leaves[slots] = run.hashes
    audit.order.last = (*position[:-1], run.first + count - 1)
    audit.number += count
    for name, (_, last) in run.ranges.items():
        story.get_conversation(name.decode()).messages.upto = last
    for name, seq in run.silent:
        story.get_conversation(name.decode()).silent.add(seq)
    for turn_id, (conversation, roles) in run.turns.items():
        turn = story.get_turn(turn_id.decode(), conversation.decode())
        turn.messages |= {role.decode(): seq for role, seq in roles.items()}
    story.speakers |= {(name.decode(), speaker.decode()) for name, speaker in run.speakers}
    story.names_speakers |= run.names_speakers
    disclosed = count - len(run.silent)
    counts = {"leaves": count, "messages": count, "disclosed": disclosed, "recorded": run.recorded}
    for what, many in counts.items():
        if many:
            audit.findings.count(what, many)
    return True


def _find_free_slots(block: AuditedBlock, node: str, run: MessageRun) -> slice | None:
    """Where the block seals all these leaves, if it does and has none of them yet."""
    count = len(run.hashes)
    slot = block.find_slot(node, run.first)
    if slot is None or block.find_slot(node, run.first + count - 1) is None:
        return None
    slots = slice(slot, slot + count)
    return slots if block.leaves[slots].count(None) == count else None


def _goes_on(story: Story, run: MessageRun) -> bool:
    """Whether the messages follow those of their conversations, and no turn has one of a role twice."""
    for name, (first, _) in run.ranges.items():
        conversation = story.conversations.get(name.decode(), AuditedConversation())
        if first != conversation.messages.upto + 1 or conversation.messages.ahead:
            return False
    for turn_id, (conversation_id, roles) in run.turns.items():
        turn = story.turns.get(turn_id.decode())
        if turn is None:
            continue
        if turn.conversation != conversation_id.decode():
            return False
        if any(role.decode() in turn.messages for role in roles):
            return False
    return True


def count_workers(size: int, wanted: int | None = None) -> int:
    """Decide how many processes help with a file: none with a small one, or where there is one core."""
    if wanted is not None:
        return wanted if size else 0  # what comes through a pipe has no size, and no parts to share
    cores = min(WORKERS, os.cpu_count() or 1)
    return cores if size >= PARALLEL and cores > 1 else 0


def _look_at_chunks(record: BinaryIO, workers: int) -> Iterator[tuple[list[SeenLine], ReadAgain]]:
    """Look at the lines, chunk by chunk in their order; yields a way to read each chunk again, too."""
    if workers:
        yield from _look_with_workers(record, workers)
        return
    for chunk in _read_chunks(record):
        yield look_at_lines(chunk), lambda chunk=chunk: chunk  # type: ignore[misc]


def _read_chunks(record: BinaryIO) -> Iterator[bytes]:
    """Read whole lines, about CHUNK bytes of them at a time. Only the last line may lack its end."""
    begun: list[bytes] = []
    while block := record.read(CHUNK):
        end = block.rfind(b"\n") + 1
        if end:
            yield b"".join((*begun, block[:end]))
            begun = []
        begun.append(block[end:])
        if sum(map(len, begun)) > LINE_LIMIT:
            break
    if any(begun):
        yield b"".join(begun)


def _look_with_workers(record: BinaryIO, workers: int) -> Iterator[tuple[list[SeenLine], ReadAgain]]:
    """Have other processes look at the lines. They take turns with the parts of the file.

    What they send waits in pipes, and a process that is too far ahead waits as well, so memory is bounded.
    """
    linux, context = sys.platform == "linux", multiprocessing.get_context
    start = context("fork") if linux else context("spawn")
    parts = -(-os.fstat(record.fileno()).st_size // CHUNK)
    pipes: list[Connection] = []
    processes: list[BaseProcess] = []
    try:
        for worker in range(workers):
            ours, theirs = start.Pipe(duplex=False)
            numbers = range(worker, parts, workers)
            process = start.Process(target=_work_on_parts, args=(record.name, numbers, theirs), daemon=True)
            process.start()
            processes.append(process)
            # Close our copy of the other end: else a process that dies would leave its pipe open for ever.
            theirs.close()
            pipes.append(ours)
        for number in range(parts):
            seen: list[SeenLine] = pipes[number % workers].recv()
            yield seen, lambda number=number: read_part(record, number)  # type: ignore[misc]
    except EOFError:
        raise OSError("a process that looked at its lines has ended; try --processes 0") from None
    finally:
        for helper in processes:
            helper.terminate()
            helper.join()


def _work_on_parts(name: str, numbers: Iterable[int], pipe: Connection) -> None:
    """Look at some parts of a file, in another process."""
    with Path(name).open("rb") as record:
        for number in numbers:
            pipe.send(look_at_lines(read_part(record, number)))


def read_part(record: BinaryIO, number: int, size: int = CHUNK) -> bytes:
    """Read the lines that begin in one of the parts of a file. The last is read whole, wherever it ends."""
    begin, end = number * size, (number + 1) * size
    record.seek(max(0, begin - 1))
    if begin:
        begin += len(record.readline(size + 1)) - 1  # the rest of a line that began before
    lines = record.read(max(0, end - begin))
    if lines and not lines.endswith(b"\n"):
        lines += record.readline(LINE_LIMIT + 1)
    return lines


_SMALL = rb"[1-9][0-9]{0,14}"  # all below 2**53; a line with a longer one is judged like any other
_TIME = rb"[1-8][0-9]{15}|" + _SMALL
_LINES = re.compile(
    rb'\{"leaf":(?P<body>\{"at":(?:' + _TIME + rb')'
    rb',"content":"(?P<committed>[^"]{64})"'
    rb',"conversation":"(?P<conversation>[^"]*)"'
    rb',"epoch":(?:0|' + _SMALL + rb')'
    rb',"kind":"message"'
    rb',"node":"(?P<node>[^"]*)"'
    rb',"number":(?P<number>' + _SMALL + rb')'
    rb',"role":"(?P<role>[^"]*)"'
    rb',"seq":(?P<seq>' + _SMALL + rb')'
    rb'(?:,"speaker":"(?P<speaker>(?:account|instance):[0-9a-f-]{36})")?'
    rb',"turn":(?:null|"(?P<turn>[^"]+)")'
    rb',"v":(?(speaker)2|1)\})'
    rb'(?:,"content":"(?:(?P<text>[^"]*)|(?P<quoting>.*))","salt":"(?P<salt>[^"]{64})"\}\n|\}\n)'
    rb'|(?P<other>.+\n?|\n)'
)  # fmt: skip


Fields = dict[str, tuple[bytes, ...]]
"""The groups of `_LINES` by their names: what each line has there, which may be nothing."""


@dataclass(slots=True)
class MessageRun:
    """Messages on lines that follow each other, all of one node, whose numbers go on without gaps.

    Within each conversation the sequence goes on too: what is known of a thousand messages is a few numbers
    besides their hashes. Names are bytes, as they stand in the file; `line` counts those of the chunk.
    """

    line: int
    node: bytes
    first: int
    hashes: list[bytes] = field(default_factory=list)
    ranges: dict[bytes, list[int]] = field(default_factory=dict)
    turns: dict[bytes, tuple[bytes, dict[bytes, int]]] = field(default_factory=dict)
    silent: list[tuple[bytes, int]] = field(default_factory=list)
    speakers: set[tuple[bytes, bytes]] = field(default_factory=set)
    recorded: int = 0
    names_speakers: bool = False


SeenLine = MessageRun | bytes
ReadAgain = Callable[[], bytes]


def look_at_lines(chunk: bytes) -> list[SeenLine]:
    """Take together the messages among these lines, as far as nothing is to be said about any of them.

    All other lines are left as they are, and are judged one by one. So is a chunk with anything odd in it:
    nothing is decided here but what a line by itself can show.
    """
    columns = zip(*_LINES.findall(chunk), strict=True)
    fields: Fields = dict(zip(_LINES.groupindex, columns, strict=False))
    hashes = _hash_messages(chunk, fields) if fields else []
    if hashes is None:
        return [*_LINE.findall(chunk)]
    return _find_runs(hashes, fields) if fields else []


def _find_runs(hashes: list[bytes], fields: Fields) -> list[SeenLine]:
    """The lines in their order, messages together as long as their numbers go on."""
    seen: list[SeenLine] = []
    run = nobody = MessageRun(0, b"", 0)
    lines = zip(
        hashes, fields["other"], fields["node"], fields["number"], fields["conversation"], fields["seq"],
        fields["turn"], fields["role"], fields["speaker"], fields["salt"],
        strict=True,
    )  # fmt: skip
    for line, (leaf_hash, other, node, number, conversation, seq, turn, role, speaker, salt) in enumerate(
        lines
    ):
        if other:
            seen.append(other)
            run = nobody
            continue
        place, in_conversation = int(number), int(seq)
        span = run.ranges.get(conversation)
        if (
            node != run.node
            or place != run.first + len(run.hashes)
            or (span is not None and in_conversation != span[1] + 1)
            or (turn in run.turns and (conversation != run.turns[turn][0] or role in run.turns[turn][1]))
        ):
            run, span = MessageRun(line, node, place), None
            seen.append(run)
        if span is None:
            run.ranges[conversation] = [in_conversation, in_conversation]
        else:
            span[1] = in_conversation
        if turn:
            run.turns.setdefault(turn, (conversation, {}))[1][role] = in_conversation
        if not salt:
            run.silent.append((conversation, in_conversation))
        if speaker:
            run.names_speakers = True
        if role == b"assistant":
            if not turn:
                run.recorded += 1
            elif speaker:
                run.speakers.add((conversation, speaker))
        run.hashes.append(leaf_hash)
    return seen


def _hash_messages(chunk: bytes, fields: Fields) -> list[bytes] | None:
    """The leaf hashes of the messages; None if one is odd, or shows another text than the one sealed."""
    bodies = fields["body"]
    texts, quoting = fields["text"], fields["quoting"]
    spelled = b"".join(bodies + texts + quoting)
    if any(code in spelled for code in _CONTROL) or (b"\\" in spelled and b"\\" in b"".join(bodies)):
        return None
    voices = zip(fields["speaker"], fields["role"], fields["turn"], strict=True)
    if not all(map(_is_speaker, set(fields["speaker"]))) or not all(map(_can_speak, voices)):
        return None
    try:
        chunk.isascii() or chunk.decode()
        if b"\\" in spelled or any(quoting):
            texts = tuple(map(_unescape, texts, quoting))
        if not _are_sealed(texts, fields["salt"], fields["committed"]):
            return None
    except ValueError:
        return None
    hashes = []
    for body in bodies:
        hasher = _LEAF_HASH.copy()  # sooner done than to begin anew
        hasher.update(body)
        hashes.append(hasher.digest())
    return hashes


def _is_speaker(name: bytes) -> bool:
    """Whether a speaker, if there is one, is spelled like one; `_LINES` counts its characters only."""
    return not name or _SPEAKER.fullmatch(name.decode()) is not None


def _can_speak(voice: tuple[bytes, bytes, bytes]) -> bool:
    """Whether the speaker of a message, if it names one, can have said it in that role and turn."""
    speaker, role, turn = voice
    return not speaker or (speaker[:1] == b"i") == (role == b"assistant" and turn != b"")


def _are_sealed(texts: Sequence[bytes], salts: Sequence[bytes], committed: Sequence[bytes]) -> bool:
    """Whether all the texts that are shown are those committed to; ValueError if a salt is none."""
    wanted, made = [], []
    for text, salt, content_hash in zip(texts, salts, committed, strict=True):
        if salt:
            hasher = _CONTENT_HASH.copy()
            hasher.update(unhexlify(salt) + len(text).to_bytes(8, "big") + text)
            made.append(hasher.digest())
            wanted.append(content_hash)
    spelled = b"".join(salts)
    return spelled == spelled.lower() and b"".join(made).hex().encode() == b"".join(wanted)


def _unescape(text: bytes, quoting: bytes) -> bytes:
    """The text of a JSON string, given without its quotes, or ValueError if it has another spelling."""
    if not quoting and b"\\" not in text:
        return text
    quoted = (quoting or text).decode() + '"'
    string, end = scanstring(quoted, 0)
    if end != len(quoted) or _quote(string) != f'"{quoted}':
        raise ValueError("something else follows, or it is spelled otherwise")
    return str(string).encode()


read_record = read_quickly


if __name__ == "__main__":
    run()
