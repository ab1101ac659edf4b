"""Show a chat: on a terminal with colours and word by word, elsewhere as plain whole lines.

Text of a model or a person may hold control codes; none of them reaches the terminal.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from ccn.cli.chat.wrapping import WordWrapper
from ccn.cli.output.printing import escape_controls

WIDEST = 100
DOLLAR = 1_000_000
STAND_IN = (
    "A stand-in answers, not Claude, and costs are what Claude's would have been. "
    "Set CCN_CLAUDE_API_KEY and start the cluster again to change that."
)
HELP = (
    ("/history", "show what was said"),
    ("/prompt", "show what was sent to the model in the last turn, word for word"),
    ("/cost", "show tokens and money of this conversation and of today"),
    ("/quit", "leave, like Ctrl-D; the conversation can be continued"),
    ("Ctrl-C", "cancel the reply that is coming; twice leaves"),
)


class Transcript(Protocol):
    """A place that shows a chat."""

    def greet(self, glance: dict[str, Any]) -> None:
        """Show who one talks with."""

    def show_message(self, message: dict[str, Any], name: str) -> None:
        """Show an earlier message."""

    def begin_reply(self, name: str) -> None:
        """Show that a reply is awaited."""

    def show_delta(self, text: str) -> None:
        """Add a piece of the reply."""

    def void_reply(self, reason: str) -> None:
        """Take back what came of the reply."""

    def end_reply(self, outcome: dict[str, Any]) -> None:
        """Finish the reply, or say why there is none."""

    def show_status(self, glance: dict[str, Any]) -> None:
        """Show the status line."""

    def show_prompt(self, shown: str, fields: dict[str, Any]) -> None:
        """Show what was sent to the model."""

    def show_notice(self, text: str) -> None:
        """Show a notice about the chat itself."""


class TerminalTranscript:
    """A chat on a terminal, for people."""

    def __init__(self, person: str = "you", console: Console | None = None) -> None:
        self._person = person
        self._console = console or Console(highlight=False)
        self._wrapping: WordWrapper | None = None
        self._is_waiting = False

    def greet(self, glance: dict[str, Any]) -> None:
        """Show the name, that it is an AI, and how to come back."""
        self._print_styled(glance["name"], "bold cyan")
        self._print_styled(glance["notice"], "dim")
        if glance["stand_in"]:
            self._print_styled(STAND_IN, "yellow")
        self._print_styled(f"session {glance['session_id']} · /help lists the commands", "dim")
        self._console.line()

    def show_message(self, message: dict[str, Any], name: str) -> None:
        """Show an earlier message as it was shown then."""
        person = message["role"] == "user"
        self._print_styled(self._person if person else name, "bold green" if person else "bold cyan")
        content = message["content"]
        self._print_styled("(redacted)" if content is None else content, "dim" if content is None else "")
        self._console.line()

    def begin_reply(self, name: str) -> None:
        """Show the name, and a sign that the reply will come."""
        self._print_styled(name, "bold cyan")
        self._show_waiting()

    def show_delta(self, text: str) -> None:
        """Show a piece of the reply, broken into lines between words."""
        self._clear_waiting()
        assert self._wrapping is not None
        self._write_raw(self._wrapping.feed(escape_controls(text)))

    def void_reply(self, reason: str) -> None:
        """Clear what is still on the screen of the reply; where that is not all, say so below it."""
        rows = self._wrapping.rows if self._wrapping is not None and not self._is_waiting else 0
        self._clear_waiting()
        if rows and rows < self._console.height and self._console.is_terminal:
            self._write_raw(f"\r\x1b[{rows - 1}A\x1b[J" if rows > 1 else "\r\x1b[J")
        elif rows:
            self._console.line()
        self._print_styled(f"({reason}: the reply begins anew)", "dim")
        self._show_waiting()

    def end_reply(self, outcome: dict[str, Any]) -> None:
        """Show the rest of the reply, or why there is none."""
        self._clear_waiting()
        assert self._wrapping is not None
        self._write_raw(self._wrapping.flush())
        self._wrapping = None
        self._console.line()
        match outcome["status"]:
            case "failed":
                self._print_styled(f"no reply: {reason_for_failure(outcome)}", "red")
            case "cancelled":
                self._print_styled("(cancelled)", "dim")

    def show_status(self, glance: dict[str, Any]) -> None:
        """Show character, node, drift and cost."""
        self._print_styled(format_status_line(glance), "dim")
        self._console.line()

    def show_prompt(self, shown: str, fields: dict[str, Any]) -> None:
        """Show the prompt word for word, without control codes."""
        del fields
        self._console.rule("what was sent", style="dim")
        self._console.out(escape_controls(shown), highlight=False)
        self._console.rule(style="dim")

    def show_notice(self, text: str) -> None:
        """Show a dim line of its own."""
        if self._is_waiting:
            self._clear_waiting()
        elif self._wrapping is not None:
            self._console.line()
        self._print_styled(text, "dim")

    def _show_waiting(self) -> None:
        self._wrapping, self._is_waiting = WordWrapper(min(self._console.width, WIDEST)), True
        if self._console.is_terminal:
            self._console.print(Text("…", style="dim"), end="")

    def _clear_waiting(self) -> None:
        if self._is_waiting and self._console.is_terminal:
            self._write_raw("\r\x1b[K")
        self._is_waiting = False

    def _write_raw(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()

    def _print_styled(self, text: str, style: str) -> None:
        self._console.print(
            Text(escape_controls(text), style=style), width=min(self._console.width, WIDEST)
        )


class PlainTranscript:
    """A chat for programs: replies on standard output, everything else on standard error."""

    def __init__(self, as_json: bool, *, show_earlier: bool = False) -> None:
        self._as_json, self._show_earlier = as_json, show_earlier
        self._text = ""
        self._last: dict[str, Any] = {}

    def greet(self, glance: dict[str, Any]) -> None:
        """Write the id of the conversation, and that an AI answers."""
        if self._as_json:
            self._write_line(json.dumps({"session": glance}, ensure_ascii=False))
        else:
            stand_in = f" {STAND_IN}" if glance["stand_in"] else ""
            self.show_notice(f"session {glance['session_id']}. {glance['notice']}{stand_in}")

    def show_message(self, message: dict[str, Any], name: str) -> None:
        """Write an earlier message if earlier messages were asked for."""
        if not self._show_earlier:
            return
        if self._as_json:
            self._write_line(json.dumps({"message": message}, ensure_ascii=False))
            return
        who = name if message["role"] == "assistant" else "user"
        words = "(redacted)" if message["content"] is None else message["content"]
        self._write_line(f"{who}: {words}")

    def begin_reply(self, name: str) -> None:
        """Write nothing: a reply is written once it is whole."""
        del name
        self._text = ""

    def show_delta(self, text: str) -> None:
        """Keep the piece until the reply is whole."""
        self._text += text

    def void_reply(self, reason: str) -> None:
        """Forget what came of the reply."""
        del reason
        self._text = ""

    def end_reply(self, outcome: dict[str, Any]) -> None:
        """Write the whole reply, or why there is none."""
        if self._as_json:
            reply = self._text if outcome["status"] == "committed" else None
            self._write_line(json.dumps({**outcome, "reply": reply}, ensure_ascii=False))
        elif outcome["status"] == "committed":
            self._write_line(self._text)
        else:
            self.show_notice(f"error: no reply: {reason_for_failure(outcome)}")

    def show_status(self, glance: dict[str, Any]) -> None:
        """Write the status as JSON; plain text has none."""
        if self._as_json:
            self._write_line(json.dumps({"status": glance}, ensure_ascii=False))

    def show_prompt(self, shown: str, fields: dict[str, Any]) -> None:
        """Write the prompt word for word."""
        self._write_line(
            json.dumps({"prompt": fields}, ensure_ascii=False) if self._as_json else shown.rstrip("\n")
        )

    def show_notice(self, text: str) -> None:
        """Write a notice to standard error."""
        sys.stderr.write(escape_controls(text) + "\n")
        sys.stderr.flush()

    def _write_line(self, text: str) -> None:
        sys.stdout.write((escape_controls(text) if sys.stdout.isatty() else text) + "\n")
        sys.stdout.flush()


_TROUBLE = {"rate limit": "the model takes no more requests for now", "server": "the model is in trouble"}


def format_status_line(glance: dict[str, Any]) -> str:
    """Name who speaks, at which node, how far from its character, and the cost."""
    drift = glance["drift"]
    parts = [
        glance["name"],
        glance["node"] or "nowhere now",
        "drift –, needs two instances"
        if glance["alone"]
        else "drift –"
        if drift is None
        else f"drift {drift:.3f}",
        f"{format_dollars(glance['spent']['microdollars'])} here",
        f"{format_dollars(glance['spent_today']['microdollars'])} today",
    ]
    return " · ".join(parts)


def describe_retry(retry: dict[str, Any]) -> str:
    """Say why the model is asked again."""
    cause = _TROUBLE.get(retry["reason"], "the model does not answer")
    return f"({cause}: trying again, {retry['number']} of {retry['most']})"


def describe_cost(glance: dict[str, Any]) -> str:
    """List tokens and money of this conversation and of today."""
    return "\n".join(_describe_spend(what, glance[key]) for what, key in _SPENT)


def format_dollars(microdollars: int) -> str:
    """Format an amount with four decimal places."""
    return f"${microdollars / DOLLAR:.4f}"


def reason_for_failure(outcome: dict[str, Any]) -> str:
    """Return why there is no reply."""
    return str(outcome.get("detail") or outcome.get("code") or outcome["status"])


_SPENT = (("here", "spent"), ("today", "spent_today"))


def _describe_spend(what: str, spent: dict[str, Any]) -> str:
    names = ("input", "cache_read", "cache_write", "output")
    tokens = " · ".join(f"{name.replace('_', ' ')} {spent[name]}" for name in names)
    return f"{what:<6} {format_dollars(spent['microdollars'])}  {spent['calls']} calls · {tokens}"
