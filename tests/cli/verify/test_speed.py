"""Without what is only for speed the verifier says the same of every record, and takes longer."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ccn.cli import verify
from tests.cli.conftest import Copy
from tests.support.cli.verify import mutations
from tests.support.cli.verify.lies_in_blocks import BLOCKS, HEADERS, ROSTERS, RULES
from tests.support.cli.verify.lies_in_leaves import STORIES
from tests.support.cli.verify.records import RECORDS, join

MUTATIONS = int(os.environ.get("CCN_VERIFY_FUZZ", "120")) // 4  # each is read twice here


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The verifier after everything that is only for speed was deleted from its file."""
    needed, banner, deleted = Path(verify.__file__).read_text().partition("# -- only for speed --")
    last_lines = deleted.splitlines(keepends=True)[-2:]
    assert banner
    file = tmp_path_factory.mktemp("plain") / "plain_verifier.py"
    file.write_text(needed + "".join(last_lines))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[file.stem]


def judge_with(verifier: ModuleType, record: bytes) -> tuple[str, object]:
    """Everything that a person and a program are told."""
    audit = verifier.verify(io.BytesIO(record))
    return verifier.render_text(audit, "record"), json.loads(verifier.render_json(audit))


def test_the_file_without_what_is_only_for_speed_is_a_whole_verifier(plain: ModuleType) -> None:
    assert not hasattr(plain, "look_at_lines")
    for lines in RECORDS:
        said, _ = judge_with(plain, join(lines))
        assert said.startswith("VERIFIED: record\n")


@pytest.mark.timeout(900)
def test_both_say_the_same_of_every_mutation(plain: ModuleType) -> None:
    for seed in range(MUTATIONS):
        changed = join(mutations.mutation(RECORDS[seed % 2], seed))
        assert judge_with(verify, changed) == judge_with(plain, changed), seed


def test_both_say_the_same_of_every_lie(plain: ModuleType) -> None:
    for name, (record, _) in (STORIES | BLOCKS | HEADERS | ROSTERS | RULES).items():
        assert judge_with(verify, record) == judge_with(plain, record), name


@pytest.mark.asyncio(loop_scope="module")
async def test_both_say_the_same_of_messages_that_do_not_follow_each_other(
    copy: Copy, plain: ModuleType
) -> None:
    lines, chance = (await copy.export()).splitlines(keepends=True), random.Random(11)
    messages = [place for place, line in enumerate(lines) if b'"kind":"message"' in line]
    for _ in range(60):
        changed = list(lines)
        one, other = chance.sample(messages, 2)
        match chance.randrange(4):
            case 0:
                changed[one], changed[other] = changed[other], changed[one]
            case 1:
                changed.insert(one, changed[other])
            case 2:
                del changed[one]
            case _:
                changed[one] = changed[one].replace(b'"role":"user"', b'"role":"assistant"')
        for record in (b"".join(lines), b"".join(changed)):
            assert judge_with(verify, record) == judge_with(plain, record)


def test_both_say_the_same_of_a_file_that_ends_anywhere(plain: ModuleType) -> None:
    record = join(RECORDS[1])
    for end in range(0, len(record), 997):
        assert judge_with(verify, record[:end]) == judge_with(plain, record[:end])


@pytest.mark.parametrize(
    ("speaker", "taken"),
    [
        ("account:01900000-0000-7000-8000-000000000001", True),
        ("account:------------------------------------", False),
        ("account:019000000000-7000-8000-000000000001-", False),
        ("account:01900000-0000-7000-8000-00000000000g", False),
        ("instance:01900000-0000-7000-8000-000000000001", False),
        ("nobody:01900000-0000-7000-8000-000000000001", False),
    ],
)
def test_a_message_is_taken_with_others_only_if_its_speaker_can_have_said_it(
    speaker: str, taken: bool
) -> None:
    leaf = {
        "at": 1, "content": "00" * 32, "conversation": "c", "epoch": 0, "kind": "message", "node": "n",
        "number": 1, "role": "user", "seq": 1, "speaker": speaker, "turn": None, "v": 2,
    }  # fmt: skip
    line = mutations.spelled({"leaf": leaf}) + b"\n"
    (seen,) = verify.look_at_lines(line)
    assert isinstance(seen, verify.MessageRun) == taken
    if not taken:
        assert seen == line
