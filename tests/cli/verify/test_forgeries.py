"""What is shown under VERIFIED is what was sealed: a record has one spelling, and every other is refused.

All of it is done to a record that is kept as a file, so no database is needed.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ccn.cli import verify
from tests.support.cli.verify import mutations
from tests.support.cli.verify.records import RECORDS, join

LINES = RECORDS[0]
KINDS = ("record", "block", "roster", "leaf", "checkpoint", "waiting", "conversation", "standing", "end")
MUTATIONS = int(os.environ.get("CCN_VERIFY_FUZZ", "120"))


def judged(lines: list[bytes]) -> verify.Audit:
    return verify.verify(io.BytesIO(join(lines)))


def line_of(begins: bytes, holds: bytes = b"") -> int:
    return next(n for n, line in enumerate(LINES) if line.startswith(begins) and holds in line)


def with_line(place: int, line: bytes) -> list[bytes]:
    return [*LINES[:place], line, *LINES[place + 1 :]]


def without_line(place: int) -> list[bytes]:
    """A line taken out, and the end counting what is left."""
    return [*LINES[:place], *LINES[place + 1 : -1], b'{"end":{"lines":%d}}' % (len(LINES) - 2)]


MESSAGE = line_of(b'{"leaf":', b'"content":"Hello, I am Alice')
REQUEST = line_of(b'{"leaf":', b'"asked":{')
BLOCK, ROSTER = line_of(b'{"block":'), line_of(b'{"roster":')
CHECKPOINT, VERSION = line_of(b'{"checkpoint":'), line_of(b'{"conversation":')
STANDING = line_of(b'{"standing":', b'"version":1,"status":"open"')
SALT = LINES[MESSAGE].partition(b'"salt":')[2]
UNUSED = LINES[ROSTER][-6:]
SPELLINGS = {
    "a false content before the true one": (MESSAGE, b',"content":"H', b',"content":"No","content":"H'),
    "a false content after the true one": (MESSAGE, b',"salt":', b',"content":"No","salt":'),
    "a false leaf before the true one": (MESSAGE, b'{"leaf":', b'{"leaf":{"role":"assistant"},"leaf":'),
    "a false role in the leaf": (MESSAGE, b'"role":"user"', b'"role":"assistant","role":"user"'),
    "a key within a document": (REQUEST, b'"asked":{', b'"asked":{"name":"eve","name":"ann",'),
    "a key within a row": (BLOCK, b'"row":{"height":1', b'"row":{"height":9,"height":1'),
    "a note within a report": (BLOCK, b'"reports":[{', b'"reports":[{"note":"x",'),
    "a note within a roster": (ROSTER, b'{"roster":{', b'{"roster":{"note":"x",'),
    "a letter as its number": (MESSAGE, b'"content":"H', b'"content":"\\u0048'),
    "a slash that is escaped": (CHECKPOINT, b"ccn.local/", b"ccn.local\\/"),
    "a blank": (MESSAGE, b',"salt":', b', "salt":'),
    "a number with a point": (VERSION, b'"version":1', b'"version":1.0'),
    "a truth for a one": (VERSION, b'"version":1', b'"version":true'),
    "capitals in a salt": (MESSAGE, SALT, SALT.upper()),
    "keys in another order": (STANDING, b'"version":1,"status":"open"', b'"status":"open","version":1'),
    "bits that base64 does not use": (ROSTER, UNUSED, bytes([UNUSED[0] + 1]) + UNUSED[1:]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_nobody_knows_is_refused_in_every_kind_of_line(kind: str) -> None:
    place = line_of(b'{"%s":' % kind.encode())
    for forged in (b',"note":"trust me"}', b',"%s":"trust me"}' % kind.encode()):
        found = judged(with_line(place, LINES[place][:-1] + forged))
        assert found.code == verify.INVALID
        assert found.findings.invalid.startswith(f"line {place + 1}: ")


@pytest.mark.parametrize(("place", "true", "forged"), SPELLINGS.values(), ids=SPELLINGS)
def test_another_spelling_of_a_line_is_refused_and_named(place: int, true: bytes, forged: bytes) -> None:
    assert true in LINES[place]
    found = judged(with_line(place, LINES[place].replace(true, forged, 1)))
    assert found.code == verify.INVALID
    assert found.findings.invalid.startswith(f"line {place + 1}: ")


def test_a_record_is_of_the_version_that_it_names() -> None:
    lines = RECORDS[1]
    found = judged([lines[0].replace(b'"version":2', b'"version":1'), *lines[1:]])
    assert (found.code, "version 1" in found.findings.invalid) == (verify.INVALID, True)


def test_a_key_that_stands_twice_is_named() -> None:
    line = LINES[MESSAGE].replace(b',"content":"Hello', b',"content":"I confess.","content":"Hello', 1)
    assert judged(with_line(MESSAGE, line)).findings.invalid == (
        f"line {MESSAGE + 1}: the key 'content' stands twice in one object"
    )


def test_what_no_leaf_sealed_is_a_contradiction() -> None:
    """Well spelled, in its place, and under no hash."""
    end = line_of(b'{"leaf":', b'"kind":"turn"')
    shown = json.loads(LINES[end])
    extras: tuple[dict[str, object], ...] = ({"content": "x"}, {"state": {}}, {"asked": {}, "answer": {}})
    for more in extras:
        found = judged(with_line(end, mutations.spelled(shown | more)))
        assert (found.code, found.findings.total) == (verify.CONTRADICTION, 1)
    columns = ("at", "conversation", "epoch", "error", "reply", "status", "turn", "user")
    row = {"table": "turns"} | {name: shown["leaf"][name] for name in columns}
    for rows in ([row], [row | {"version": None}], [row, row]):
        found = judged(with_line(end, mutations.spelled(shown | {"rows": rows})))
        assert found.code == verify.CONTRADICTION


def test_a_block_that_is_missing_is_named_wherever_it_was() -> None:
    for height, place in enumerate([n for n, line in enumerate(LINES) if line.startswith(b'{"block":')], 1):
        found = judged(without_line(place))
        assert (found.code, found.findings.ordered[0].where) == (verify.CONTRADICTION, f"block {height}")
    through = [n for n, line in enumerate(LINES) if line.startswith(b'{"checkpoint":')]
    for height in range(1, 7):  # all its lines
        first, last = line_of(b'{"block":', b'"height":%d,' % height), through[height - 1]
        found = judged([*LINES[:first], *LINES[last + 1 :]])
        assert (found.code, found.findings.ordered[0].where) == (verify.CONTRADICTION, f"block {height}")


def test_no_line_of_what_is_sealed_can_be_taken_out_unseen_but_a_checkpoint_before_the_last() -> None:
    last = max(n for n, line in enumerate(LINES) if line.startswith(b'{"checkpoint":'))
    for place, line in enumerate(LINES[:-1]):
        found = judged(without_line(place))
        match line[2:12]:
            case b"checkpoint":
                assert found.code == (verify.UNSIGNED if place == last else verify.VERIFIED)
            case b'record":"c':
                assert found.code == verify.INVALID
            case b'waiting":[':
                assert found.code == verify.VERIFIED  # it proves nothing, and the verdict says so
            case _:
                assert found.code == verify.CONTRADICTION, line[:200]


def test_no_line_can_be_shown_twice() -> None:
    for place, line in enumerate(LINES[:-1]):
        assert judged([*LINES[: place + 1], line, *LINES[place + 1 :]]).code == verify.INVALID


@pytest.mark.timeout(900)
def test_no_mutation_changes_what_is_shown_unseen() -> None:
    """CCN_VERIFY_FUZZ says how many; each is made from its number."""
    for seed in range(MUTATIONS):
        lines = RECORDS[seed % 2]
        changed = mutations.mutation(lines, seed)
        found = judged(changed)
        assert found.code in verify.VERDICTS, seed
        if found.code in (verify.VERIFIED, verify.UNSIGNED):
            assert mutations.unproven(lines, [line for line in changed if line]), seed
        told = verify.render_text(found, "x") + verify.render_json(found)
        assert not any(name in told for name in ("Error", "Traceback", "Exception")), (seed, told)


def test_names_of_the_programs_insides_reach_nobody() -> None:
    for line in (b'{"leaf":[]}', b'{"block":{}}', b'{"end":7}', b"[1]", b"7", b"{", b'{"a":' * 90_000):
        found = judged(with_line(1, line))
        assert found.code == verify.INVALID
        assert found.findings.invalid.startswith("line 2")
        assert not any(name in found.findings.invalid for name in ("Error", "None", "dict", "NoneType"))


def test_a_line_of_many_keys_is_refused_at_once() -> None:
    keys = b",".join(b'"%d":1' % number for number in range(100_000))
    since = time.thread_time()
    found = judged(with_line(1, b'{"leaf": {' + keys + b"}}"))
    assert time.thread_time() - since < 5
    assert (
        found.findings.invalid
        == "line 2: it is spelled otherwise than an export spells it, from character 9 on"
    )


def _with_little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))


def test_a_hostile_file_cannot_fill_the_memory(tmp_path: Path) -> None:
    spans = b",".join(b'["n%07d",1,1]' % n for n in range(100_000))
    wide = b'{"block":{"spans":[' + spans + b"]}}"
    for name, data in {
        "one line": b"[" * (80 << 20),
        "many numbers": b'{"end":[' + b"1," * (8 << 20),
        "wide blocks": LINES[0] + b"\n" + (wide + b"\n") * 3,
        "nothing": b"\n" * (1 << 20),
    }.items():
        file = tmp_path / name
        file.write_bytes(data)
        run = subprocess.run(
            [sys.executable, "-I", "-S", verify.__file__, "--processes", "0", str(file)],
            preexec_fn=_with_little_memory,
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert (run.returncode, run.stderr) == (verify.INVALID, ""), name
