"""Output that never holds up the work."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from ccn.cli.output import screen


def test_lines_come_in_order() -> None:
    stream = io.StringIO()
    shown = screen.Screen(stream)
    for number in range(100):
        shown.say(f"line {number}")
    shown.close()
    assert stream.getvalue().splitlines() == [f"line {number}" for number in range(100)]


def test_a_reader_that_stopped_reading_holds_up_nobody_and_learns_what_it_missed() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        shown = screen.Screen(stream, limit=10)
        for _ in range(5_000):  # many times what a pipe holds
            shown.say("x" * 1000)
        seen: list[str] = []
        while "the end" not in seen:
            seen.append(reader.readline().strip())
            shown.say("the end")
        shown.close()
    assert seen[-2].endswith("lines were dropped: nobody read them in time)")
    assert len(seen) < 1_000


def test_a_closed_pipe_ends_in_silence() -> None:
    code = (
        "import os, sys; from ccn.cli.output import screen\n"
        "shown = screen.Screen(sys.stdout)\n"
        "shown.say('unheard'); shown.say('unheard'); shown.close(); print('unheard')"
    )
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        ended = subprocess.run(
            [sys.executable, "-P", "-c", code],
            stdout=stream,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_there_need_not_be_a_stream_at_all(capfd: pytest.CaptureFixture[str]) -> None:
    shown = screen.Screen(None)
    shown.say("unheard")
    shown.close()
    assert capfd.readouterr() == ("", "")
