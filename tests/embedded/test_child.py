"""A child that dies with its parent, hears nothing from the terminal, and ends when told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.embedded import child, unprivileged_user

NOWHERE = Path(os.devnull)
# Says when it is ready, and survives what is polite.
STUBBORN = "trap '' TERM INT; echo ready; while :; do sleep 0.05; done"


async def said(running: child.Child) -> list[str]:
    return [line async for line in running.read_lines()]


async def first_line(running: child.Child) -> str:
    async for line in running.read_lines():
        return line
    return ""


async def test_what_it_writes_arrives_line_by_line_and_its_exit_code_is_told() -> None:
    running = child.start(["sh", "-c", "echo one; echo two >&2; printf three; exit 7"])
    assert await said(running) == ["one", "two", "three"]
    assert await running.wait() == 7
    assert running.code == 7


async def test_it_writes_to_the_end_of_a_file(place: Path) -> None:
    log = place / "log"
    log.write_text("before\n")
    assert await child.start(["echo", "after"], output=log).wait() == 0
    assert log.read_text() == "before\nafter\n"


async def test_a_link_in_place_of_the_log_is_not_followed(place: Path) -> None:
    (place / "log").symlink_to(place / "elsewhere")
    with pytest.raises(errors.DataDirectoryUnusable, match="cannot be written"):
        child.start(["true"], output=place / "log")
    assert not (place / "elsewhere").exists()


async def test_what_it_is_fed_is_its_whole_input() -> None:
    running = child.start(["cat"], feed=b"a statement\n")
    assert await said(running) == ["a statement"]
    assert await running.wait() == 0


def test_more_than_a_pipe_holds_cannot_be_fed() -> None:
    with pytest.raises(ValueError, match="4096"):
        child.start(["cat"], feed=b"x" * 4097)


async def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(errors.EmbeddedFailed, match="/no/such/program"):
        child.start(["/no/such/program"])


async def test_another_thread_may_not_start_one() -> None:
    with pytest.raises(errors.EmbeddedFailed, match="main thread"):
        await asyncio.to_thread(child.start, ["true"])
    assert threading.current_thread() is threading.main_thread()


async def test_it_leads_a_session_of_its_own() -> None:
    running = child.start(["sleep", "60"], output=NOWHERE)
    assert os.getsid(running.pid) == running.pid != os.getsid(0)
    assert await running.stop() == -signal.SIGTERM


async def test_one_that_ignores_the_signal_is_killed_after_its_deadline() -> None:
    running = child.start(["sh", "-c", STUBBORN])
    assert await first_line(running) == "ready"
    assert await running.stop((signal.SIGTERM, 0.1), (signal.SIGINT, 0.1)) == -signal.SIGKILL


async def test_killing_takes_what_it_started_along(until: Callable[..., Any]) -> None:
    running = child.start(["sh", "-c", "trap '' TERM; sleep 600 & echo $!; wait"])
    other = psutil.Process(int(await first_line(running)))
    await running.stop((signal.SIGTERM, 0.1))

    def gone() -> bool:
        try:
            return not other.is_running() or other.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    await until(gone)


async def test_a_stop_that_is_interrupted_kills_at_once() -> None:
    running = child.start(["sh", "-c", STUBBORN])
    await first_line(running)
    stopping = asyncio.create_task(running.stop((signal.SIGTERM, 60.0)))
    await asyncio.sleep(0.05)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert running.code == -signal.SIGKILL


async def test_stopping_one_that_has_ended_tells_how_it_ended() -> None:
    running = child.start(["sh", "-c", "exit 3"], output=NOWHERE)
    assert await running.wait() == 3
    assert await running.stop() == 3


async def test_several_may_wait_for_the_same_child() -> None:
    running = child.start(["sleep", "0.1"], output=NOWHERE)
    assert await asyncio.gather(*(running.wait() for _ in range(5))) == [0] * 5


async def test_it_runs_as_the_account_it_is_given() -> None:
    account = unprivileged_user.find_account()
    running = child.start(["id", "-u"], account=account, cwd=Path("/"))
    assert await said(running) == [str(account.uid if account else os.geteuid())]
    assert await running.wait() == 0


async def test_a_server_sees_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCN_DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=1")
    running = child.start(["env"], env=child.bare_environment())
    names = {line.partition("=")[0] for line in await said(running)}
    await running.wait()
    assert names <= {"PATH", "LD_LIBRARY_PATH", "LC_ALL", "TZ", "PWD", "SHLVL", "_"}


@pytest.mark.parametrize("as_account", [False, True])
async def test_the_kernel_will_send_the_death_signal_even_after_a_change_of_account(
    as_account: bool,
) -> None:
    # The child asks the kernel itself: PR_GET_PDEATHSIG is 2.
    asks = "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print(n.value)"
    python = os.path.realpath(sys.executable)
    account = (
        unprivileged_user.find_account()
        if as_account and unprivileged_user.can_reach(unprivileged_user.find_account(), Path(python).parent)
        else None
    )
    running = child.start(
        [python, "-I", "-c", asks], death_signal=signal.SIGINT, account=account, cwd=Path("/")
    )
    expected = int(signal.SIGINT) if sys.platform == "linux" else 0
    assert await said(running) == [str(expected)]
    await running.wait()


def test_kill_minus_nine_of_the_parent_ends_the_child(
    starter: Callable[..., Any], ended: Callable[..., None]
) -> None:
    running = starter(service="child")
    assert [each.name() for each in running.servers] == ["sleep"]
    ended(running.kill())


def test_ctrl_c_reaches_the_parent_only(starter: Callable[..., Any]) -> None:
    running = starter(service="child")
    (server,) = running.servers
    # What a terminal does: the signal goes to the whole group of the process in front.
    assert os.getpgid(running.pid) != os.getpgid(server.pid)
    running.stop()
    assert not server.is_running()


@given(
    lines=st.lists(
        st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=30)
    ),
    sizes=st.lists(st.integers(1, 7), min_size=1),
)
def test_lines_do_not_depend_on_how_the_bytes_arrive(lines: list[str], sizes: list[int]) -> None:
    sent = "".join(f"{line}\n" for line in lines).encode()
    cutter = child.LineCutter(limit=1_000)
    got: list[str] = []
    turn = 0
    while sent:
        size = sizes[turn % len(sizes)]
        got += cutter.cut_chunk(sent[:size])
        sent, turn = sent[size:], turn + 1
    assert [*got, *cutter.cut_rest()] == [line for line in lines if line]


def test_a_line_without_end_is_cut_and_the_next_one_is_whole() -> None:
    cutter = child.LineCutter(limit=5)
    got = [
        line for chunk in (b"abc", b"defg", b"h" * 1000, b"\nnext\n") for line in cutter.cut_chunk(chunk)
    ]
    assert got == ["abcde …", "next"]


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert list(child.LineCutter(100).cut_chunk(b"\xff\xfe ok\r\n")) == ["\ufffd\ufffd ok"]


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exit status 0"), (3, "exit status 3"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")],
)
def test_an_exit_code_is_described_in_words(code: int, words: str) -> None:
    assert child.describe_exit(code) == words
