"""`ccn record` as an operator types it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ccn.core.chain import checkpoint
from ccn.core.ledger import commitment, note, proof
from tests.cli.conftest import HERE, Copy
from tests.support.cli import commands

pytestmark = pytest.mark.asyncio(loop_scope="module")


def ccn_(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run(*arguments, cwd=folder, env=commands.environment())


def verify(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As its readers start it."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "ccn.cli.verify", *arguments],
        capture_output=True, text=True, timeout=100, check=False, cwd=folder, env=commands.environment(),
    )  # fmt: skip


async def test_an_export_is_verified_by_the_command_beside_it(copy: Copy, tmp_path: Path) -> None:
    url = copy.database.url.get_secret_value()
    told = ccn_(tmp_path, "record", "export", "a record.jsonl", "--database-url", url)
    assert (told.returncode, told.stdout) == (0, ""), told.stderr
    assert "blocks: 4, leaves: 22" in told.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["a record.jsonl"]
    kept = ccn_(tmp_path, "record", "checkpoint", "--database-url", url)
    (tmp_path / "kept.note").write_text(kept.stdout)
    verified = verify(tmp_path, "a record.jsonl", "--json", "--checkpoint", "kept.note")
    assert (verified.returncode, json.loads(verified.stdout)["verdict"]) == (0, "verified")


async def test_a_proof_can_be_checked_by_anybody(copy: Copy, tmp_path: Path) -> None:
    url = copy.database.url.get_secret_value()
    told = ccn_(tmp_path, "record", "prove", str(HERE), "3", "--json", "--database-url", url)
    assert told.returncode == 0, told.stderr
    proved = json.loads(told.stdout)
    head = checkpoint.parse_checkpoint(note.parse_note(proved["checkpoint"].encode()).text)
    path = [base64.b64decode(each) for each in proved["path"]]
    leaf = commitment.leaf_hash(proved["leaf"].encode())
    assert proof.verify_inclusion(leaf, proved["index"], head.size, path, head.root)
    assert json.loads(proved["leaf"])["seq"] == 3
    shown = ccn_(tmp_path, "record", "prove", str(HERE), "3", "--database-url", url).stdout
    assert f"leaf {proved['index']} of {head.size}" in shown


async def test_nothing_is_proved_of_a_record_that_was_tampered_with(copy: Copy, tmp_path: Path) -> None:
    await copy.superuser("UPDATE leaves SET body = body || ' ' WHERE node_id = 'node-1' AND number = 4")
    url = copy.database.url.get_secret_value()
    told = ccn_(tmp_path, "record", "prove", str(HERE), "1", "--database-url", url)
    assert (told.returncode, told.stdout) == (1, "")
    assert "does not make the tree that was cosigned" in told.stderr


async def test_that_a_record_only_grew_can_be_checked_by_anybody(copy: Copy, tmp_path: Path) -> None:
    url = copy.database.url.get_secret_value()
    told = ccn_(tmp_path, "record", "prove", "--since", "1", "--json", "--database-url", url)
    assert told.returncode == 0, told.stderr
    grown = json.loads(told.stdout)
    assert (grown["since"], grown["until"]) == (1, 4)
    old, new = (
        checkpoint.parse_checkpoint(note.parse_note(grown[name].encode()).text)
        for name in ("old_checkpoint", "new_checkpoint")
    )
    assert (old.size, new.size) == (grown["old_size"], grown["new_size"])
    path = [base64.b64decode(line) for line in grown["path"]]
    assert proof.verify_consistency(old.size, new.size, path, old.root, new.root)
    assert not proof.verify_consistency(old.size, new.size, path, new.root, old.root)
    shown = ccn_(tmp_path, "record", "prove", "--since", "2", "--until", "3", "--database-url", url).stdout
    assert "at block 3\n  begins with the one of" in shown
    assert shown.count("which a quorum cosigned") == 2


async def test_no_growth_is_proved_of_a_record_whose_past_was_changed(copy: Copy, tmp_path: Path) -> None:
    url = copy.database.url.get_secret_value()
    await copy.superuser("UPDATE leaves SET body = body || ' ' WHERE node_id = 'node-1' AND number = 1")
    told = ccn_(tmp_path, "record", "prove", "--since", "1", "--database-url", url)
    assert (told.returncode, told.stdout) == (1, "")
    assert "does not make the trees that were cosigned" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--since", "9"), 1, "there is no block 9"),
        (("--since", "3", "--until", "2"), 1, "block 2 comes before block 3"),
        (("--since", "1", str(HERE), "1"), 2, "give a message or --since"),
        (("--until", "3"), 2, "give a conversation and the number"),
        ((str(HERE),), 2, "give a conversation and the number"),
    ],
)
async def test_what_cannot_be_proved_is_said(
    copy: Copy, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    url = copy.database.url.get_secret_value()
    told = ccn_(tmp_path, "record", "prove", *arguments, "--database-url", url)
    assert (told.returncode, told.stdout) == (code, "")
    assert said in " ".join(told.stderr.replace("│", " ").split())


async def test_a_block_is_shown_with_what_it_agreed_on_and_about_whom(copy: Copy, tmp_path: Path) -> None:
    url = copy.database.url.get_secret_value()
    shown = ccn_(tmp_path, "round", "show", "1", "--database-url", url)
    assert shown.returncode == 0, shown.stderr
    lines = {line.partition(" ")[0]: line for line in shown.stdout.splitlines()}
    told = json.loads(ccn_(tmp_path, "round", "show", "1", "--json", "--database-url", url).stdout)
    assert lines["reports"].endswith(", ".join(told["reports"]))
    for each in told["results"]:
        assert f"{each['character']}: {each['instances']} instances" in shown.stdout
        for outlier in each["outliers"]:
            assert f"{outlier['instance']} on {outlier['node']}, {outlier['drift']:.3f}" in shown.stdout
    assert told["results"]
    none = ccn_(tmp_path, "round", "show", "99", "--database-url", url)
    assert commands.complaint(none) == "error: there is no block 99: the newest is 4"


async def test_a_message_that_is_not_there_is_not_found(copy: Copy, tmp_path: Path) -> None:
    url = copy.database.url.get_secret_value()
    told = ccn_(tmp_path, "record", "prove", str(HERE), "9", "--database-url", url)
    assert (told.returncode, told.stdout) == (1, "")
    assert "there is no such message" in told.stderr


async def test_an_export_that_cannot_be_written_leaves_nothing_behind(copy: Copy, tmp_path: Path) -> None:
    url = copy.database.url.get_secret_value()
    told = ccn_(tmp_path, "record", "export", "missing/record.jsonl", "--database-url", url)
    assert told.returncode == 1
    assert "cannot be written" in told.stderr
    assert list(tmp_path.iterdir()) == []
