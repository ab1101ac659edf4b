"""A chat from greeting to leaving. `run` is the story; `Session` talks to nodes, a `Transcript` shows.

Reading a line blocks, so it happens between turns, outside of the event loop. While a reply comes, Ctrl-C
asks for its end, and a second one leaves; what was accepted is answered all the same.
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
from ccn.cli.chat import transcript
from ccn.cli.chat.session import ChatEvent, ChatSession
from ccn.cli.chat.transcript import PlainTranscript, TerminalTranscript, Transcript
from ccn.cli.reach.target import HttpTarget
from ccn.core.calls.call import Call, CallBlock, CallMessage
from ccn.core.message import Role
from ccn.core.prompts import prompt

HISTORY = 20
"""Messages that are shown when a conversation is continued."""
_ENDED = {"done": "committed", "error": "failed", "cancelled": "cancelled"}


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What the user asked for."""

    character: str
    session: str
    reason: str
    at: HttpTarget
    show_prompt: bool
    as_json: bool


def run_chat(wish: ChatOptions) -> int:
    """Begin or continue a conversation and talk until there is nothing more to say; the exit code."""
    terminal = not wish.as_json and sys.stdin.isatty() and sys.stdout.isatty()
    person = "user" if wish.reason else "you"
    shown: Transcript = (
        TerminalTranscript(person) if terminal else PlainTranscript(wish.as_json, earlier=bool(wish.reason))
    )
    if wish.reason and not wish.session:
        raise errors.InputInvalid("--reason is for a --session of somebody else")
    chat = ChatLoop(
        ChatSession(list(wish.at.urls), wish.at.api_key, shown.show_notice, wish.reason, wish.at.ca),
        shown,
        show_prompt=wish.show_prompt,
    )
    with asyncio.Runner() as runner:
        runner.run(chat.open(wish))
        if wish.reason:
            shown.show_notice(
                "shown for a reason, which the record says; nobody speaks in the name of others"
            )
            return 0
        if terminal:
            _talk_on_terminal(runner, chat)
            shown.show_notice(f"continue with  ccn chat --session {chat.session.id}")
            return 0
        for number, line in enumerate(sys.stdin.buffer, 1):
            if content := _decode_line(line, number):
                runner.run(chat.take_turn(content))
    return 1 if chat.failed else 0


class ChatLoop:
    """One conversation on one screen."""

    def __init__(self, session: ChatSession, shown: Transcript, *, show_prompt: bool) -> None:
        self.session, self.shown = session, shown
        self.failed = self.left = False
        self._show_prompt = show_prompt
        self._name = ""

    async def open(self, wish: ChatOptions) -> None:
        """Greet; of a continued conversation show the end, and the reply that is still coming."""
        session = self.session
        await session.learn_nodes()
        if wish.session:
            session.id = _parse_session_id(wish.session)
            state = await self._load_state()
        else:
            await session.begin_conversation(wish.character or await self._only_character())
            state = {"unfinished": [], "messages": 0}
        glance = await session.load_glance()
        self._name = glance["name"]
        self.shown.greet(glance)
        if state["messages"]:
            await self.show_history(HISTORY)
            self.shown.show_status(glance)
        for each in [] if wish.reason else state["unfinished"]:
            await self._show_reply(session.follow_turn(each["turn_id"]))
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
            self.shown.end_reply(
                {"status": "failed", "code": type(refused).__name__, "detail": str(refused)}
            )

    async def show_history(self, limit: int) -> None:
        """What was said last."""
        for message in await self.session.load_history(limit):
            self.shown.show_message(message, self._name)

    async def show_prompt(self) -> None:
        """What was sent in the last turn."""
        fields = await self.session.load_prompt()
        self.shown.show_prompt(prompt.call_to_text(_call_from_fields(fields)), fields)

    async def show_cost(self) -> None:
        """Tokens and money."""
        self.shown.show_notice(transcript.describe_cost(await self.session.load_glance()))

    async def _show_reply(self, events: AsyncGenerator[ChatEvent]) -> None:
        turn, interrupted = "", asyncio.Event()
        self.shown.begin_reply(self._name)
        with self._handle_interrupts(interrupted):
            async with aclosing(events) as coming, _TurnCanceller(self.session, interrupted) as cancelling:
                async for event in coming:
                    turn = turn or event.id.partition(":")[0]
                    cancelling.learn_turn(turn)
                    self._show_event(event, turn)
        self.shown.show_status(await self.session.load_glance())
        if self._show_prompt:
            with suppress(errors.NotFound):  # cancelled before anything was sent
                await self.show_prompt()

    def _show_event(self, event: ChatEvent, turn: str) -> None:
        match event.name:
            case "delta":
                self.shown.show_delta(event.data["text"])
            case "restart":
                self.shown.void_reply(event.data["reason"])
            case "waiting":
                self.shown.show_notice(transcript.describe_retry(event.data))
            case "done" | "error" | "cancelled":
                status = _ENDED[event.name]
                self.failed |= status == "failed"
                self.shown.end_reply({"turn_id": turn, "status": status, **event.data})

    @contextmanager
    def _handle_interrupts(self, interrupted: asyncio.Event) -> Iterator[None]:
        """On a terminal: the first asks for the end of the reply, the next one leaves."""
        if not isinstance(self.shown, TerminalTranscript):
            yield
            return
        loop, working = asyncio.get_running_loop(), asyncio.current_task()
        assert working is not None

        def on_interrupt() -> None:
            if interrupted.is_set():
                self.left = True
                working.cancel()
            interrupted.set()

        loop.add_signal_handler(signal.SIGINT, on_interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    async def _only_character(self) -> str:
        match [each["id"] for each in await self.session.list_characters()]:
            case [only]:
                return str(only)
            case []:
                raise errors.NotFound("there is no character yet: import one with `ccn plate import FILE`")
            case several:
                raise errors.InputInvalid(
                    f"there are several: name one with --character {'|'.join(several)}"
                )


class _TurnCanceller:
    """Asks for the end of a turn, as soon as it is known which one and that it is not wanted."""

    def __init__(self, session: ChatSession, interrupted: asyncio.Event) -> None:
        self._session, self._interrupted = session, interrupted
        self._turn: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def learn_turn(self, turn: str) -> None:
        """Which turn it is."""
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
    """Line by line, until /quit, the end of the input, or two Ctrl-C."""
    import readline  # noqa: F401, PLC0415 - gives input() its editing and its memory of lines

    interrupted = False
    while not chat.left:
        try:
            line = input("\001\x1b[1;32m\002you ›\001\x1b[0m\002 ").strip()
        except EOFError:
            chat.shown.show_notice("")
            return
        except KeyboardInterrupt:
            if interrupted:
                chat.shown.show_notice("")
                return
            interrupted = True
            chat.shown.show_notice("\n(Ctrl-C once more, Ctrl-D or /quit leaves)")
            continue
        interrupted = False
        if line == "/quit":
            return
        if line:
            _run_line(runner, chat, line)


def _run_line(runner: asyncio.Runner, chat: ChatLoop, line: str) -> None:
    """A command or a message; what goes wrong is said, and the chat goes on."""
    try:
        match line:
            case "/help":
                for name, meaning in transcript.HELP:
                    chat.shown.show_notice(f"{name:<10} {meaning}")
            case "/history":
                runner.run(chat.show_history(200))
            case "/prompt":
                runner.run(chat.show_prompt())
            case "/cost":
                runner.run(chat.show_cost())
            case _ if line.startswith("/") and not line.startswith("//"):
                chat.shown.show_notice(
                    f"there is no command {line.split(maxsplit=1)[0]}; /help names all, // begins a message"
                )
            case _:
                runner.run(chat.take_turn(line.removeprefix("/") if line.startswith("//") else line))
    except asyncio.CancelledError:
        if not chat.left:
            raise
    except errors.CCNError as refused:
        chat.shown.show_notice(f"error: {refused}")


def _decode_line(line: bytes, number: int) -> str:
    """One message of a pipe, whatever the locale is."""
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise errors.InputInvalid(f"line {number} of the input is not UTF-8") from None


def _parse_session_id(named: str) -> str:
    try:
        return str(uuid.UUID(named))
    except ValueError:
        raise errors.InputInvalid(f"{named} is not the id of a session") from None


def _call_from_fields(fields: dict[str, Any]) -> Call:
    """The prompt as it was before it travelled."""
    return Call(
        fields["model"],
        tuple(CallBlock(each["text"], each["mark"]) for each in fields["system"]),
        tuple(CallMessage(Role(each["role"]), each["text"], each["mark"]) for each in fields["messages"]),
        fields["max_tokens"],
        fields["temperature"],
    )
