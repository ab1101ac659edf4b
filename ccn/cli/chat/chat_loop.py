"""Run a chat from its greeting to its end. `ChatSession` talks to nodes, a `Transcript` shows the chat.

Reading a line blocks, so it happens between turns, outside of the event loop. While a reply comes, Ctrl-C
cancels the reply, and a second Ctrl-C leaves. A message that a node accepted is answered all the same.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ccn import errors
from ccn.cli.chat.session import ChatEvent, ChatSession
from ccn.cli.chat.transcript import (
    HELP,
    PlainTranscript,
    TerminalTranscript,
    Transcript,
    describe_cost,
    describe_retry,
)
from ccn.cli.reach.target import HttpTarget
from ccn.core.calls.call import Call, CallBlock, CallMessage
from ccn.core.message import Role
from ccn.core.prompts import prompt

HISTORY = 20
"""Messages that are shown when a conversation is continued."""
_STATUS_OF_EVENT = {"done": "committed", "error": "failed", "cancelled": "cancelled"}


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What the user asked for."""

    character: str
    session: str
    reason: str
    at: HttpTarget
    show_prompt: bool
    as_json: bool


def run_chat(options: ChatOptions) -> int:
    """Begin or continue a conversation, talk until the input ends, and return the exit code."""
    terminal = not options.as_json and sys.stdin.isatty() and sys.stdout.isatty()
    person = "user" if options.reason else "you"
    output: Transcript = (
        TerminalTranscript(person)
        if terminal
        else PlainTranscript(options.as_json, show_earlier=bool(options.reason))
    )
    if options.reason and not options.session:
        raise errors.InputInvalid("--reason needs --session: it opens the conversation of somebody else")
    chat = ChatLoop(
        ChatSession(
            list(options.at.urls), options.at.api_key, output.show_notice, options.reason, options.at.ca
        ),
        output,
        show_prompt=options.show_prompt,
    )
    with asyncio.Runner() as runner:
        runner.run(chat.open(options))
        if options.reason:
            output.show_notice(
                "you only read here, and the record keeps the reason; nobody speaks in the name of others"
            )
            return 0
        if terminal:
            _talk_on_terminal(runner, chat)
            output.show_notice(f"continue with  ccn chat --session {chat.session.id}")
            return 0
        for number, line in enumerate(sys.stdin.buffer, 1):
            if content := _decode_line(line, number):
                runner.run(chat.take_turn(content))
    return 1 if chat.failed else 0


class ChatLoop:
    """One conversation on one screen."""

    def __init__(self, session: ChatSession, transcript: Transcript, *, show_prompt: bool) -> None:
        self.session, self.transcript = session, transcript
        self.failed = self.left = False
        self._show_prompt = show_prompt
        self._name = ""

    async def open(self, options: ChatOptions) -> None:
        """Greet; show the end of a continued conversation, and follow the reply that is still coming."""
        session = self.session
        await session.learn_nodes()
        if options.session:
            session.id = _parse_session_id(options.session)
            state = await self._load_state()
        else:
            await session.begin_conversation(options.character or await self._only_character())
            state = {"unfinished": [], "messages": 0}
        glance = await session.load_glance()
        self._name = glance["name"]
        self.transcript.greet(glance)
        if state["messages"]:
            await self.show_history(HISTORY)
            self.transcript.show_status(glance)
        for turn in [] if options.reason else state["unfinished"]:
            await self._show_reply(session.follow_turn(turn["turn_id"]))
        if self._show_prompt and state["messages"] and not state["unfinished"]:
            await self.show_prompt()

    async def _load_state(self) -> dict[str, Any]:
        try:
            return await self.session.load_state()
        except errors.ReasonRequired:
            raise errors.ReasonRequired(
                "this is somebody else's conversation: --reason WHY shows it to an admin; nobody speaks in"
                " the name of others"
            ) from None

    async def take_turn(self, content: str) -> None:
        """Say something, and show the reply as it comes."""
        try:
            await self._show_reply(self.session.say(content))
        except errors.TooManyRequests:
            raise
        except (errors.InputInvalid, errors.Conflict, errors.Unavailable) as refused:
            self.failed = True
            self.transcript.end_reply(
                {"status": "failed", "code": type(refused).__name__, "detail": str(refused)}
            )

    async def show_history(self, limit: int) -> None:
        """Show the last messages."""
        for message in await self.session.load_history(limit):
            self.transcript.show_message(message, self._name)

    async def show_prompt(self) -> None:
        """Show what was sent to the model in the last turn."""
        fields = await self.session.load_prompt()
        self.transcript.show_prompt(prompt.call_to_text(_call_from_fields(fields)), fields)

    async def show_cost(self) -> None:
        """Show tokens and money."""
        self.transcript.show_notice(describe_cost(await self.session.load_glance()))

    async def _show_reply(self, events: AsyncGenerator[ChatEvent]) -> None:
        turn, interrupted = "", asyncio.Event()
        self.transcript.begin_reply(self._name)
        with self._handle_interrupts(interrupted):
            async with aclosing(events) as stream, _TurnCanceller(self.session, interrupted) as canceller:
                async for event in stream:
                    turn = turn or event.id.partition(":")[0]
                    canceller.learn_turn(turn)
                    self._show_event(event, turn)
        self.transcript.show_status(await self.session.load_glance())
        if self._show_prompt:
            with suppress(errors.NotFound):  # cancelled before anything was sent
                await self.show_prompt()

    def _show_event(self, event: ChatEvent, turn: str) -> None:
        match event.name:
            case "delta":
                self.transcript.show_delta(event.data["text"])
            case "restart":
                self.transcript.void_reply(event.data["reason"])
            case "waiting":
                self.transcript.show_notice(describe_retry(event.data))
            case "done" | "error" | "cancelled":
                status = _STATUS_OF_EVENT[event.name]
                self.failed |= status == "failed"
                self.transcript.end_reply({"turn_id": turn, "status": status, **event.data})

    @contextmanager
    def _handle_interrupts(self, interrupted: asyncio.Event) -> Iterator[None]:
        """On a terminal, let the first Ctrl-C cancel the reply and the next one leave."""
        if not isinstance(self.transcript, TerminalTranscript):
            yield
            return
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def on_interrupt() -> None:
            if interrupted.is_set():
                self.left = True
                task.cancel()
            interrupted.set()

        loop.add_signal_handler(signal.SIGINT, on_interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    async def _only_character(self) -> str:
        match [character["id"] for character in await self.session.list_characters()]:
            case [only]:
                return str(only)
            case []:
                raise errors.NotFound("there is no character yet: import one with `ccn plate import FILE`")
            case several:
                raise errors.InputInvalid(
                    f"there are several characters: name one with --character {'|'.join(several)}"
                )


class _TurnCanceller:
    """Cancels a turn once its id is known and somebody pressed Ctrl-C."""

    def __init__(self, session: ChatSession, interrupted: asyncio.Event) -> None:
        self._session, self._interrupted = session, interrupted
        self._turn: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def learn_turn(self, turn: str) -> None:
        """Take the id of the turn; later calls change nothing."""
        if not self._turn.done():
            self._turn.set_result(turn)

    async def __aenter__(self) -> _TurnCanceller:
        self._task = asyncio.create_task(self._cancel_when_interrupted(), name="cancel")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _cancel_when_interrupted(self) -> None:
        await self._interrupted.wait()
        turn = await self._turn
        with suppress(errors.CCNError):  # then the reply comes to its own end
            await self._session.cancel_turn(turn)


def _talk_on_terminal(runner: asyncio.Runner, chat: ChatLoop) -> None:
    """Read and run lines until /quit, the end of the input, or two Ctrl-C."""
    import readline  # noqa: F401, PLC0415 - gives input() its editing and its memory of lines

    interrupted = False
    while not chat.left:
        try:
            line = input("\001\x1b[1;32m\002you ›\001\x1b[0m\002 ").strip()
        except EOFError:
            chat.transcript.show_notice("")
            return
        except KeyboardInterrupt:
            if interrupted:
                chat.transcript.show_notice("")
                return
            interrupted = True
            chat.transcript.show_notice("\n(Ctrl-C once more, Ctrl-D or /quit leaves)")
            continue
        interrupted = False
        if line == "/quit":
            return
        if line:
            _run_line(runner, chat, line)


def _run_line(runner: asyncio.Runner, chat: ChatLoop, line: str) -> None:
    """Run a command or say a message; show an error, and let the chat go on."""
    try:
        match line:
            case "/help":
                for name, meaning in HELP:
                    chat.transcript.show_notice(f"{name:<10} {meaning}")
            case "/history":
                runner.run(chat.show_history(200))
            case "/prompt":
                runner.run(chat.show_prompt())
            case "/cost":
                runner.run(chat.show_cost())
            case _ if line.startswith("/") and not line.startswith("//"):
                chat.transcript.show_notice(
                    f"there is no command {line.split(maxsplit=1)[0]}; /help lists all, // begins a message"
                )
            case _:
                runner.run(chat.take_turn(line.removeprefix("/") if line.startswith("//") else line))
    except asyncio.CancelledError:
        if not chat.left:
            raise
    except errors.CCNError as refused:
        chat.transcript.show_notice(f"error: {refused}")


def _decode_line(line: bytes, number: int) -> str:
    """Decode one message from a pipe, which is UTF-8 in every locale."""
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise errors.InputInvalid(f"line {number} of the input is not UTF-8") from None


def _parse_session_id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise errors.InputInvalid(f"{text} is not the id of a session") from None


def _call_from_fields(fields: dict[str, Any]) -> Call:
    """Build the prompt from the JSON that a node answered."""
    return Call(
        fields["model"],
        tuple(CallBlock(each["text"], each["mark"]) for each in fields["system"]),
        tuple(CallMessage(Role(each["role"]), each["text"], each["mark"]) for each in fields["messages"]),
        fields["max_tokens"],
        fields["temperature"],
    )
