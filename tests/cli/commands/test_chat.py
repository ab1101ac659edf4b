"""`ccn chat` as somebody types it, on a terminal and through a pipe, with a real node behind it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from ccn import errors, settings
from ccn.cli.chat.session import ChatSession
from ccn.core.ids import CharacterId
from ccn.store.accounts.users import Tier
from ccn.store.conversations import characters
from tests.support.cli import commands
from tests.support.cli.terminal import Typing, terminal
from tests.support.gateway import http_door
from tests.support.gateway.http_door import Door
from tests.support.node import node_world
from tests.support.node.node_world import Model, Node

FIGURES = "drift –, needs two instances · $0.0000 here · $0.0000 today"


class Gate:
    """Holds the model before a word until it is opened."""

    def __init__(self, nth: int) -> None:
        self._nth, self.open, self.reached = nth, asyncio.Event(), asyncio.Event()

    async def __call__(self, nth: int) -> None:
        if nth == self._nth:
            self.reached.set()
            await self.open.wait()


@dataclass
class Here:
    """A node with a door, and somebody who may come in."""

    door: Door
    key: str

    def environ(self) -> dict[str, str]:
        own = {
            "CCN_CLIENT_ENDPOINT": self.door.url,
            "CCN_CLIENT_API_KEY": self.key,
            "TERM": "xterm-256color",
        }
        return settings.child_environment(own)

    async def piped(self, *options: str, given: str | bytes = "") -> tuple[int, str, str]:
        talk = partial(commands.run, "chat", *options, given=given, env=self.environ())
        ended = await asyncio.to_thread(talk)
        return ended.returncode, ended.stdout, ended.stderr


@pytest_asyncio.fixture
async def here(database: settings.DatabaseSettings) -> AsyncIterator[Here]:
    world = await node_world.found_world(database)
    async with world.node("node-1") as node, http_door.door(node) as door:
        yield Here(door, await http_door.key(node, name="ann"))


def node_of(here: Here) -> Node:
    return here.door.node


async def types_and_sees(typing: Typing, line: str, *shown: str) -> None:
    """Type a line, see what comes of it in this order, and be asked for the next."""
    typing.type(f"{line}\r")
    for text in (*shown, "you ›"):
        await typing.sees(text)


async def test_through_a_pipe_every_line_gets_its_reply_on_a_line(here: Here) -> None:
    code, out, err = await here.piped(given="Hello.\n\nAnd again.\n")
    assert (code, out) == (0, "Well, I am here.\n" * 2)
    assert re.fullmatch(r"session [0-9a-f-]{36}\. You talk to an AI\..*\n", err)


async def test_programs_get_objects_and_go_on_with_the_session(here: Here) -> None:
    _, out, _ = await here.piped("--json", given="Hello.\n")
    greeting, reply, status = map(json.loads, out.splitlines())
    assert (reply["status"], reply["reply"]) == ("committed", "Well, I am here.")
    assert (status["status"]["node"], status["status"]["name"]) == ("node-1", "Ada")
    session = greeting["session"]["session_id"]
    _, out, _ = await here.piped("--json", "--session", session, "--show-prompt", given="More.\n")
    shown = [each for each in map(json.loads, out.splitlines()) if "prompt" in each]
    said = [[each["text"] for each in one["prompt"]["messages"]] for one in shown]
    assert said == [["Hello."], ["Hello.", "Well, I am here.", "More."]]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (("--session", "01900000-0000-7000-8000-000000000001"), "error: "),
        (("--session", "yesterday"), "error: yesterday is not the id of a session"),
        (("--character", "nobody"), "error: there is no character nobody"),
        (
            ("--endpoint", "http://127.0.0.1:1"),
            "error: no node answers at http://127.0.0.1:1 (Connection refused). Try again later",
        ),
        (("--endpoint", "gopher://here"), "error: gopher://here is not an http address"),
    ],
)
async def test_what_goes_wrong_is_one_clear_line(here: Here, options: tuple[str, ...], wrong: str) -> None:
    code, out, err = await here.piped(*options, given="Hello.\n")
    assert (code, out, err.count("\n")) == (1, "", 1), err
    assert err.startswith(wrong)


async def test_a_key_among_the_arguments_is_warned_about_and_one_in_a_file_is_not(
    here: Here, tmp_path: Path
) -> None:
    code, _, err = await here.piped("--api-key", "ccn_nobody", given="Hello.\n")
    warning, refused = err.splitlines()
    assert (code, warning.startswith("warning: the key in --api-key"), refused[:7]) == (1, True, "error: ")
    (tmp_path / "key").write_text("ccn_nobody\n")
    code, _, err = await here.piped("--api-key-file", str(tmp_path / "key"), given="Hello.\n")
    assert (code, err) == (1, f"{refused}\n")
    assert refused.endswith("give a key with --api-key-file or CCN_CLIENT_API_KEY")


async def test_a_failed_reply_is_said_and_the_next_line_is_answered(here: Here) -> None:
    node_of(here).model.fails = errors.BudgetSpent("the day's budget is spent")
    code, out, err = await here.piped(given="Hello.\n")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "error: no reply: the day's budget is spent"


async def test_a_line_that_is_not_utf_8_is_named_and_not_sent(here: Here) -> None:
    code, out, err = await here.piped(given="Grüße.\n".encode() + b"Gr\xfc\xdfe.\n")
    assert (code, out) == (1, "Well, I am here.\n")
    assert err.splitlines()[-1].startswith("error: line 2 of the input is not UTF-8")


async def test_with_several_characters_one_has_to_be_named(here: Here) -> None:
    node = node_of(here)
    await characters.import_plate(node.pool, node.writer, CharacterId("bob"), "Bob", "# Bob\nIs Bob.", "t")
    code, _, err = await here.piped(given="Hello.\n")
    assert (code, "--character ada|bob" in err) == (1, True)
    code, out, _ = await here.piped("--character", "ada", given="Hello.\n")
    assert (code, out) == (0, "Well, I am here.\n")


async def test_a_person_sees_who_speaks_the_reply_and_what_it_costs(here: Here) -> None:
    async with terminal(here.environ()) as typing:
        greeting = await typing.sees("you ›")
        assert greeting.startswith("Ada\nYou talk to an AI.")
        for typed, shown in (
            ("Hello.", ("Well, I am here.", f"Ada · node-1 · {FIGURES}")),
            ("/help", ("/history",)),
            ("/history", ("you\nHello.\n\nAda\nWell, I am here.",)),
            ("/prompt", ("[system · mark]", "Keeps her word.", "[user]\nHello.")),
            ("/cost", ("today  $0.0000  0 calls · input 0",)),
            ("/dance", ("there is no command /dance",)),
        ):
            await types_and_sees(typing, typed, *shown)
        typing.type("/quit\r")
        await typing.sees("continue with  ccn chat --session ")
        assert await typing.left() == 0


async def test_ctrl_c_stops_the_reply_and_twice_at_the_prompt_leaves(here: Here) -> None:
    gate = node_of(here).model.gate = Gate(2)
    async with terminal(here.environ()) as typing:
        await typing.sees("you ›")
        typing.type("Hello.\r")
        await typing.sees("Well,")
        typing.type("\x03")
        await typing.sees("(cancelled)")
        await typing.sees("you ›")
        gate.open.set()
        await types_and_sees(typing, "Again.", "Well, I am here.")
        await typing.interrupts("once more")
        await typing.sees("you ›")
        await typing.interrupts("continue with")
        assert await typing.left() == 0


async def test_who_leaves_during_a_reply_finds_it_when_coming_back(here: Here) -> None:
    node = node_of(here)
    gate = node.model.gate = Gate(2)
    async with terminal(here.environ()) as typing:
        session = re.search(r"session ([0-9a-f-]{36})", await typing.sees("you ›"))
        assert session is not None
        typing.type("Hello.\r")
        await typing.sees("Well,")
        typing.process.kill()
        await typing.left()
    async with terminal(here.environ(), "--session", session[1]) as typing:
        await typing.sees("you\nHello.")
        await typing.sees("Well, I")
        gate.open.set()
        await typing.sees("am here.")
        await typing.sees("you ›")
        typing.type("\x04")
        assert await typing.left() == 0


async def test_a_person_hears_of_further_tries_and_what_a_restart_voids_leaves_the_screen(
    here: Here,
) -> None:
    model, held = node_of(here).model, asyncio.Event()
    model.restarts, model.retries = True, 1

    async def gate(_: int) -> None:
        await held.wait()

    model.gate = gate
    async with terminal(here.environ()) as typing:
        await typing.sees("you ›")
        typing.type("Hello.\r")
        await typing.sees("(the model does not answer: trying again, 2 of 2)")
        held.set()
        await typing.sees("the reply begins anew)")
        await typing.sees("Well, I am here.")
        assert "\x1b[J" in typing.raw


async def test_control_codes_in_a_reply_do_not_reach_the_terminal(here: Here) -> None:
    node_of(here).model.words = ("Look: ", "\x1b[2J\x1b]0;owned\x07 ", "gone.")
    async with terminal(here.environ()) as typing:
        await typing.sees("you ›")
        typing.type("Hello.\r")
        await typing.sees(r"Look: \x1b[2J\x1b]0;owned\x07 gone.")


async def test_a_node_that_stops_in_the_middle_hands_the_stream_to_another(
    database: settings.DatabaseSettings,
) -> None:
    world = await node_world.found_world(database)
    gate = Gate(2)
    async with (
        world.node("node-1", Model(gate=gate)) as first,
        world.node("node-2") as second,
        http_door.door(first) as hosting,
        http_door.door(second) as other,
    ):
        session = ChatSession([hosting.url, other.url], await http_door.key(first), lambda _: None)
        await session.begin_conversation(node_world.ADA)
        names, said = list[str](), ""
        async for event in session.say("Hello."):
            names.append(event.name)
            said = "" if event.name == "restart" else said + event.data.get("text", "")
            if gate.reached.is_set() and not hosting.stop.is_set():
                hosting.stop.set()
                asyncio.get_running_loop().call_later(2.5, gate.open.set)
        assert (said, names.count("accepted"), names[-1]) == ("Well, I am here.", 1, "done")


async def test_an_admin_sees_the_conversation_of_somebody_else_for_a_reason_and_says_nothing_in_it(
    here: Here,
) -> None:
    code, out, _ = await here.piped("--json", given="Hello.\n")
    session = json.loads(out.splitlines()[0])["session"]["session_id"]
    admin = Here(here.door, await http_door.key(node_of(here), Tier.ADMIN))
    code, out, err = await admin.piped("--session", session, given="I confess.\n")
    assert (code, out) == (1, "")
    assert "--reason WHY" in err
    code, out, err = await admin.piped("--session", session, "--reason", "sie bat um Hilfe: ärgerlich")
    assert (code, out) == (0, "user: Hello.\nAda: Well, I am here.\n")
    assert "the record keeps the reason" in err
    code, out, _ = await admin.piped(
        "--session", session, "--reason", "why", "--json", given="I confess.\n"
    )
    said = [
        json.loads(line)["message"]["content"] for line in out.splitlines() if "message" in json.loads(line)
    ]
    assert (code, said) == (0, ["Hello.", "Well, I am here."])
    code, _, err = await admin.piped("--reason", "why")
    assert (code, "--session" in err) == (1, True)
