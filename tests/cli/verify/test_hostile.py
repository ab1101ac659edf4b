"""A file from anywhere: it is refused or judged, and never crashes the verifier or fills the memory."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from ccn.cli import verify
from tests.cli.conftest import Copy
from tests.support.cli.verify import mutations

pytestmark = pytest.mark.asyncio(loop_scope="module")


def judged(data: bytes) -> verify.Audit:
    return verify.verify(io.BytesIO(data))


async def test_no_single_change_of_a_value_is_a_crash_and_none_verifies_unseen(copy: Copy) -> None:
    lines = (await copy.export()).splitlines()
    chance = random.Random(7)
    for _ in range(200):
        place = chance.randrange(len(lines))
        after = mutations.spelled(mutations.mutated(json.loads(lines[place]), chance))
        changed = [*lines[:place], after, *lines[place + 1 :]]
        found = judged(b"\n".join(changed) + b"\n")
        assert found.code in verify.VERDICTS
        if found.code < verify.INCOMPLETE:
            assert mutations.unproven(lines, changed), after
        verify.render_text(found, "x").encode("utf-8", "backslashreplace")
        verify.render_json(found)


async def test_bytes_that_were_shuffled_cut_or_flipped_never_crash(copy: Copy) -> None:
    data = await copy.export()
    chance = random.Random(8)
    for _ in range(40):
        at, to = sorted(chance.randrange(len(data)) for _ in range(2))
        flipped = bytes([data[at] ^ 1 << chance.randrange(8)])
        for hostile in (data[:at] + data[to:], data[:at] + flipped + data[at + 1 :]):
            assert judged(hostile).code in verify.VERDICTS


async def test_a_message_taken_as_it_stands_is_canonical_and_says_what_was_committed_to(copy: Copy) -> None:
    """Most lines are hashed without being parsed; this parses them, whatever was done to them."""
    messages = [line for line in (await copy.export()).splitlines(keepends=True) if b'"salt"' in line]
    chance, taken = random.Random(10), 0
    odd = [
        b'"',
        b"\\",
        b",",
        b'\\"',
        b"\\u0041",
        b"\x07",
        b"\xc3\xa9",
        b"\xff",
        b'","salt":"',
        b" ",
        b"",
        b"0",
    ]
    for _ in range(4_000):
        line = chance.choice(messages)
        at, until = sorted(chance.randrange(len(line) - 1) for _ in range(2))
        kept = line[at + 1 :] if chance.random() < 0.5 else line[until:]
        hostile = line if chance.random() < 0.1 else line[:at] + chance.choice(odd) + kept
        for seen in verify.look_at_lines(hostile):
            if isinstance(seen, bytes):
                continue
            taken += 1
            shown = json.loads(hostile)
            raw = json.dumps(shown["leaf"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            assert seen.hashes == [hashlib.sha256(b"\0" + raw.encode()).digest()]
            verify.check_body(shown["leaf"])
            data = shown["content"].encode()
            framed = bytes.fromhex(shown["salt"]) + len(data).to_bytes(8, "big") + data
            said = hashlib.sha256(b"ccn/content/v1\0" + framed).hexdigest()
            assert (said, list(shown)) == (shown["leaf"]["content"], ["leaf", "content", "salt"])
    assert taken > 300


async def test_content_with_escapes_and_accents_is_taken_as_it_stands() -> None:
    for words in ("plain", 'he said "no"\n\ttwice', "\u00e9t\u00e9 \U0001f642 \\ /", "", "\u2028\x7f"):
        leaf: dict[str, object] = {
            "at": 1, "content": "", "conversation": "c", "epoch": 0, "kind": "message", "node": "n",
            "number": 1, "role": "user", "seq": 1, "turn": None, "v": 1,
        }  # fmt: skip
        data = words.encode()
        framed = bytes(32) + len(data).to_bytes(8, "big") + data
        leaf["content"] = hashlib.sha256(b"ccn/content/v1\0" + framed).hexdigest()
        line = {"leaf": leaf, "content": words, "salt": bytes(32).hex()}
        for ascii_only in (True, False):
            spelled = json.dumps(line, separators=(",", ":"), ensure_ascii=ascii_only).encode() + b"\n"
            (seen,) = verify.look_at_lines(spelled)
            if ascii_only and not words.isascii():
                assert seen == spelled  # another spelling than an export's
                continue
            assert not isinstance(seen, bytes)
            assert (seen.node, seen.first, len(seen.hashes)) == (b"n", 1, 1)
            assert (seen.ranges, seen.turns, seen.silent) == ({b"c": [1, 1]}, {}, [])


def spoken(
    number: int, seq: int, conversation: str = "c", turn: str | None = None, **changed: str
) -> bytes:
    """The line of a message whose content is gone."""
    leaf: dict[str, object] = {
        "at": 1, "content": "00" * 32, "conversation": conversation, "epoch": 0, "kind": "message",
        "node": "n", "number": number, "role": "user", "seq": seq, "turn": turn, "v": 1,
    }  # fmt: skip
    return json.dumps({"leaf": leaf | changed}, separators=(",", ":")).encode() + b"\n"


async def test_messages_are_taken_together_only_where_all_their_numbers_go_on() -> None:
    together = [spoken(4, 1), spoken(5, 7, "d"), spoken(6, 2), spoken(7, 3)]
    (said,) = verify.look_at_lines(b"".join(together))
    assert isinstance(said, verify.MessageRun)
    assert (said.first, len(said.hashes), said.ranges) == (4, 4, {b"c": [1, 3], b"d": [7, 7]})
    for apart in (
        [spoken(4, 1), spoken(6, 2)],
        [spoken(4, 1), spoken(5, 3)],
        [spoken(4, 2), spoken(5, 2)],
        [spoken(4, 1), spoken(5, 2, node="m")],
        [spoken(4, 1, turn="t"), spoken(5, 2, turn="t")],
        [spoken(4, 1, turn="t"), spoken(5, 1, "d", turn="t", role="assistant")],
        [spoken(4, 1), b"{}\n", spoken(5, 2)],
    ):
        assert (
            len(
                [
                    each
                    for each in verify.look_at_lines(b"".join(apart))
                    if isinstance(each, verify.MessageRun)
                ]
            )
            == 2
        )


async def test_every_line_begins_in_one_part_of_a_file() -> None:
    chance = random.Random(12)
    for _ in range(300):
        lines = [b"x" * chance.choice((0, 1, 2, 9, 40)) + b"\n" for _ in range(chance.randrange(9))]
        data = b"".join(lines) + b"y" * chance.randrange(3)
        size = chance.randrange(1, 30)
        parts = [
            verify.read_part(io.BytesIO(data), number, size) for number in range(-(-len(data) // size))
        ]
        assert b"".join(parts) == data
        assert all(each.endswith(b"\n") for each in parts[:-1] if each and not data.endswith(each))


async def test_a_helping_process_that_dies_is_no_verdict(tmp_path: Path) -> None:
    file = tmp_path / "record.jsonl"
    file.write_bytes(b"{}\n")
    with file.open("rb") as record:
        file.unlink()  # the others open it anew
        with pytest.raises(OSError, match="--processes 0"):
            verify.verify(record, workers=2)


async def test_a_string_that_goes_on_beyond_its_line_is_not_taken_as_it_stands() -> None:
    for odd in (b"\n", b"\t", b'","more":"', b"\\x"):
        data = b"one" + odd + b"two"
        leaf: dict[str, object] = {
            "at": 1, "content": "", "conversation": "c", "epoch": 0, "kind": "message", "node": "n",
            "number": 1, "role": "user", "seq": 1, "turn": None, "v": 1,
        }  # fmt: skip
        framed = bytes(32) + len(data).to_bytes(8, "big") + data
        leaf["content"] = hashlib.sha256(b"ccn/content/v1\0" + framed).hexdigest()
        line = json.dumps({"leaf": leaf, "content": "@", "salt": bytes(32).hex()}, separators=(",", ":"))
        spelled = line.encode().replace(b"@", data) + b"\n"
        assert verify.look_at_lines(spelled) == spelled.splitlines(keepends=True)


async def test_a_file_that_ends_early_is_incomplete_wherever_it_ends(copy: Copy) -> None:
    data = await copy.export()
    for end in range(len(data) // 3, len(data), 1_997):
        assert judged(data[:end]).code == verify.INCOMPLETE
    assert judged(b"\n".join(data.splitlines()[:-1]) + b"\n").code == verify.INCOMPLETE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"hello\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b'{"leaf":' * 50_000 + b"\n",
        b"9" * 1_000_000 + b"\n",
        b'{"record":"ccn","version":2}\n',
        b'{"record":"ccn","version":1,"origin":"a","validators":NaN}\n',
    ],
    ids=range(12),
)
async def test_what_is_no_export_is_invalid_input(data: bytes) -> None:
    assert judged(data).code == verify.INVALID


async def test_huge_numbers_in_a_small_file_cost_nothing(copy: Copy) -> None:
    since = time.thread_time()
    for line in (await copy.export()).splitlines():
        shown = json.loads(line)
        if "block" in shown:
            shown["block"]["spans"] = [["node-1", 1, 2**53 - 1]]
            assert judged((await copy.export()).replace(line, json.dumps(shown).encode())).code >= 30
    assert time.thread_time() - since < 10


async def test_ten_thousand_redactions_of_everything_cost_nothing() -> None:
    story = verify.Story(verify.Findings())
    conversation = story.get_conversation("c")
    conversation.stands = True
    conversation.versions.add(1)
    conversation.rows.add(1)
    conversation.values[1] = ()
    conversation.redacted = [(1, 2**53 - n) for n in range(10_000)]
    for seq in range(1, 10_001):
        conversation.messages.add(seq)
        conversation.silent.add(seq)
    since = time.thread_time()
    story.finish()
    assert time.thread_time() - since < 1
    assert (story.findings.contradictions, story.findings.counts["redacted"]) == ([], 10_000)


async def test_a_redaction_of_more_than_there_is_costs_nothing(copy: Copy) -> None:
    many = 2**53 - 1
    common = {"at": 1, "conversation": "c", "node": "node-9", "v": 1}
    said = common | {"epoch": 0, "kind": "message", "number": 1, "role": "user", "seq": many, "turn": None}
    gone = common | {"by": "eve", "first": 1, "kind": "redaction", "last": many, "number": 2, "reason": ""}
    lines = (await copy.export()).splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith(b'{"conversation"'))
    for leaf in (gone, said | {"content": "00" * 32}):
        waiting = {"waiting": ["node-9", leaf["number"], dict(sorted(leaf.items()))]}
        lines.insert(place, mutations.spelled(waiting))
    lines[-1] = mutations.spelled({"end": {"lines": len(lines) - 1}})
    since = time.thread_time()
    found = judged(b"\n".join(lines) + b"\n")
    assert time.thread_time() - since < 1
    assert found.findings.ordered[0] == (0, "conversation c message 1", "is missing")


async def test_signatures_are_checked_the_same_with_and_without_a_library() -> None:
    chance = random.Random(9)
    for number in range(40):
        key = SigningKey(chance.randbytes(32))
        message = chance.randbytes(number * 7)
        good = key.sign(message).signature
        public = bytes(key.verify_key)
        assert verify.check_signature_slowly(public, message, good)
        flipped = bytearray(good)
        flipped[chance.randrange(64)] ^= 1 << chance.randrange(8)
        assert not verify.check_signature_slowly(public, message, bytes(flipped))
        assert not verify.check_signature_slowly(public, message + b"x", good)
        assert not verify.check_signature_slowly(chance.randbytes(32), message, good)
    order = 2**252 + 27742317777372353535851937790883648493
    late = int.from_bytes(good[32:], "little") + order
    assert not verify.check_signature_slowly(public, message, good[:32] + late.to_bytes(32, "little"))


SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


@pytest.mark.parametrize("point", SMALL_ORDER)
async def test_a_key_with_which_a_signature_fits_many_messages_signs_none(point: str) -> None:
    base = verify._encode_point(verify._BASE)
    for number in range(16):  # a point of order 8 fits every eighth message or so
        message, signature = bytes([number]), base + (1).to_bytes(32, "little")
        assert not verify.check_signature_slowly(bytes.fromhex(point), message, signature)
        assert not verify.check_signature_quickly(bytes.fromhex(point), message, signature)


@pytest.mark.parametrize("point", SMALL_ORDER)
async def test_a_signature_that_begins_with_a_point_of_small_order_is_none(point: str) -> None:
    key, first = SigningKey(bytes(32)), bytes.fromhex(point)
    public = bytes(key.verify_key)
    secret = int.from_bytes(hashlib.sha512(bytes(32)).digest()[:32], "little")
    secret = secret & ((1 << 254) - 8) | 1 << 254
    challenge = int.from_bytes(hashlib.sha512(first + public + b"x").digest(), "little")
    scalar = challenge * secret % (2**252 + 27742317777372353535851937790883648493)
    signature = first + scalar.to_bytes(32, "little")
    assert not verify.check_signature_slowly(public, b"x", signature)
    assert not verify.check_signature_quickly(public, b"x", signature)


async def test_one_file_copied_elsewhere_needs_nothing_but_python(copy: Copy, tmp_path: Path) -> None:
    alone = tmp_path / "a folder"
    alone.mkdir()
    shutil.copy(Path(verify.__file__), alone / "ccn_verify.py")
    (alone / "record.jsonl").write_bytes(await copy.export())

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-S", "ccn_verify.py", *arguments],  # -S: no installed library either
            cwd=alone, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip

    told = run("record.jsonl")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("VERIFIED: record.jsonl\n")
    founding = json.loads(run("record.jsonl", "--json").stdout)["founding"]
    assert run("record.jsonl", "--founding", founding).returncode == 0
    assert run("record.jsonl", "--founding", "0" * 64).returncode == 30
    beside = [run("record.jsonl", "--json", "--processes", number).stdout for number in ("0", "2")]
    assert beside == [run("record.jsonl", "--json").stdout] * 2
    assert run("record.jsonl", "--founding", founding.upper()).returncode == 0
    (alone / "empty").touch()
    for arguments, said in (
        (["missing.jsonl"], "it cannot be read: No such file or directory"),
        (["."], "it cannot be read: Is a directory"),
        (["empty"], "there is no record in it"),
        (["ccn_verify.py"], "line 1 is no line of an export"),
        (["record.jsonl", "--founding", "f00"], "--founding: this is no hash"),
        (["record.jsonl", "--founding", ""], "--founding: this is no hash"),
        (["record.jsonl", "--checkpoint", "empty"], "--checkpoint empty: this is not a checkpoint"),
        (["record.jsonl", "--checkpoint", "none"], "--checkpoint none: it cannot be read: No such file"),
    ):
        refused = run(*arguments)
        assert (refused.returncode, refused.stderr) == (40, "")
        assert said in refused.stdout
