"""What people see of a chat: on a terminal with colours and words as they come, else plain and whole lines.

Whatever a model or a person wrote may hold control codes; none of them reaches the terminal.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from ccn.cli.chat.wrapping import Wrapping
from ccn.cli.output.printing import clean

WIDEST = 100
DOLLAR = 1_000_000
STAND_IN = (
    "A stand-in answers, not Claude, and costs are what Claude's would have been. "
    "Set CCN_CLAUDE_API_KEY and start the cluster again to change that."
)
HELP = (
    ("/history", "what was said"),
    ("/prompt", "what was sent to the model in the last turn, word for word"),
    ("/cost", "tokens and money of this conversation and of today"),
    ("/quit", "leave; so does Ctrl-D. The conversation stays, and can be continued"),
    ("Ctrl-C", "stop the reply that is coming; once more leaves"),
)


class Transcript(Protocol):
    """Where a chat is shown."""

    def greet(self, glance: dict[str, Any]) -> None:
        """With whom one talks."""

    def said(self, message: dict[str, Any], name: str) -> None:
        """Something that was said earlier."""

    def begin(self, name: str) -> None:
        """A reply is awaited."""

    def delta(self, text: str) -> None:
        """Some more of it."""

    def void(self, reason: str) -> None:
        """What came of it does not count."""

    def end(self, outcome: dict[str, Any]) -> None:
        """It is whole, or there is none."""

    def standing(self, glance: dict[str, Any]) -> None:
        """The status line."""

    def prompt(self, shown: str, fields: dict[str, Any]) -> None:
        """What was sent."""

    def notice(self, text: str) -> None:
        """Something about the chat itself."""


class Terminal:
    """For people."""

    def __init__(self, person: str = "you", console: Console | None = None) -> None:
        self._person = person
        self._console = console or Console(highlight=False)
        self._wrapping: Wrapping | None = None
        self._waits = False

    def greet(self, glance: dict[str, Any]) -> None:
        """Who it is, that it is an AI, and how to come back."""
        self._say(glance["name"], "bold cyan")
        self._say(glance["notice"], "dim")
        if glance["stand_in"]:
            self._say(STAND_IN, "yellow")
        self._say(f"session {glance['session_id']} · /help tells what else there is", "dim")
        self._console.line()

    def said(self, message: dict[str, Any], name: str) -> None:
        """As it stood on the screen then."""
        person = message["role"] == "user"
        self._say(self._person if person else name, "bold green" if person else "bold cyan")
        content = message["content"]
        self._say("(redacted)" if content is None else clean(content), "dim" if content is None else "")
        self._console.line()

    def begin(self, name: str) -> None:
        """Its name, and that something will come."""
        self._say(name, "bold cyan")
        self._wait()

    def delta(self, text: str) -> None:
        """Word by word."""
        self._arrive()
        assert self._wrapping is not None
        self._write(self._wrapping.feed(clean(text)))

    def void(self, reason: str) -> None:
        """Take back what is still on the screen, and say where not all is."""
        rows = self._wrapping.rows if self._wrapping is not None and not self._waits else 0
        self._arrive()
        if rows and rows < self._console.height and self._console.is_terminal:
            self._write(f"\r\x1b[{rows - 1}A\x1b[J" if rows > 1 else "\r\x1b[J")
        elif rows:
            self._console.line()
        self._say(f"({clean(reason)}: the reply begins anew)", "dim")
        self._wait()

    def end(self, outcome: dict[str, Any]) -> None:
        """The rest, or why there is no reply."""
        self._arrive()
        assert self._wrapping is not None
        self._write(self._wrapping.rest())
        self._wrapping = None
        self._console.line()
        match outcome["status"]:
            case "failed":
                self._say(f"no reply: {why(outcome)}", "red")
            case "cancelled":
                self._say("(cancelled)", "dim")

    def standing(self, glance: dict[str, Any]) -> None:
        """Character, node, drift and cost."""
        self._say(status(glance), "dim")
        self._console.line()

    def prompt(self, shown: str, fields: dict[str, Any]) -> None:
        """Word for word; only what would move the cursor is left out."""
        del fields
        self._console.rule("what was sent", style="dim")
        self._console.out(clean(shown), highlight=False)
        self._console.rule(style="dim")

    def notice(self, text: str) -> None:
        """Dim, on a line of its own."""
        if self._waits:
            self._arrive()
        elif self._wrapping is not None:
            self._console.line()
        self._say(clean(text), "dim")

    def _wait(self) -> None:
        self._wrapping, self._waits = Wrapping(min(self._console.width, WIDEST)), True
        if self._console.is_terminal:
            self._console.print(Text("…", style="dim"), end="")

    def _arrive(self) -> None:
        if self._waits and self._console.is_terminal:
            self._write("\r\x1b[K")
        self._waits = False

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()

    def _say(self, text: str, style: str) -> None:
        self._console.print(Text(text, style=style), width=min(self._console.width, WIDEST))


class Plain:
    """For programs: replies on standard output, everything else on standard error."""

    def __init__(self, as_json: bool, *, earlier: bool = False) -> None:
        self._as_json, self._earlier = as_json, earlier
        self._text = ""
        self._last: dict[str, Any] = {}

    def greet(self, glance: dict[str, Any]) -> None:
        """Where the conversation is."""
        if self._as_json:
            self._out(json.dumps({"session": glance}, ensure_ascii=False))
        else:
            stand_in = f" {STAND_IN}" if glance["stand_in"] else ""
            self.notice(f"session {glance['session_id']}. {glance['notice']}{stand_in}")

    def said(self, message: dict[str, Any], name: str) -> None:
        """Only where it was asked for: a program that talks knows what was said."""
        if not self._earlier:
            return
        if self._as_json:
            self._out(json.dumps({"message": message}, ensure_ascii=False))
            return
        who = name if message["role"] == "assistant" else "user"
        words = "(redacted)" if message["content"] is None else message["content"]
        self._out(f"{who}: {clean(words) if sys.stdout.isatty() else words}")

    def begin(self, name: str) -> None:
        """Nothing is shown before it is whole."""
        del name
        self._text = ""

    def delta(self, text: str) -> None:
        """Kept."""
        self._text += text

    def void(self, reason: str) -> None:
        """Forgotten."""
        del reason
        self._text = ""

    def end(self, outcome: dict[str, Any]) -> None:
        """The whole reply at once."""
        if self._as_json:
            reply = self._text if outcome["status"] == "committed" else None
            self._out(json.dumps({**outcome, "reply": reply}, ensure_ascii=False))
        elif outcome["status"] == "committed":
            self._out(clean(self._text) if sys.stdout.isatty() else self._text)
        else:
            self.notice(f"error: no reply: {why(outcome)}")

    def standing(self, glance: dict[str, Any]) -> None:
        """Told to programs only."""
        if self._as_json:
            self._out(json.dumps({"standing": glance}, ensure_ascii=False))

    def prompt(self, shown: str, fields: dict[str, Any]) -> None:
        """Word for word."""
        self._out(
            json.dumps({"prompt": fields}, ensure_ascii=False) if self._as_json else shown.rstrip("\n")
        )

    def notice(self, text: str) -> None:
        """Beside the replies."""
        sys.stderr.write(clean(text) + "\n")
        sys.stderr.flush()

    def _out(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


_TROUBLE = {"rate limit": "the model takes no more requests for now", "server": "the model is in trouble"}


def status(glance: dict[str, Any]) -> str:
    """One line: who speaks, where, how far from its character, and what it cost."""
    drift = glance["drift"]
    parts = [
        glance["name"],
        glance["node"] or "nowhere now",
        "drift –, needs two instances"
        if glance["alone"]
        else "drift –"
        if drift is None
        else f"drift {drift:.3f}",
        f"{dollars(glance['spent']['microdollars'])} here",
        f"{dollars(glance['spent_today']['microdollars'])} today",
    ]
    return " · ".join(parts)


def waiting(why: dict[str, Any]) -> str:
    """That the model is asked again, and why."""
    told = _TROUBLE.get(why["reason"], "the model does not answer")
    return f"({told}: trying again, {why['number']} of {why['most']})"


def cost(glance: dict[str, Any]) -> str:
    """Tokens and money."""
    return "\n".join(_spent(what, glance[key]) for what, key in _SPENT)


def dollars(microdollars: int) -> str:
    """An amount, with as many places as it needs to be more than nothing."""
    return f"${microdollars / DOLLAR:.4f}"


def why(outcome: dict[str, Any]) -> str:
    """Why there is no reply."""
    return str(outcome.get("detail") or outcome.get("code") or outcome["status"])


_SPENT = (("here", "spent"), ("today", "spent_today"))


def _spent(what: str, spent: dict[str, Any]) -> str:
    names = ("input", "cache_read", "cache_write", "output")
    tokens = " · ".join(f"{name.replace('_', ' ')} {spent[name]}" for name in names)
    return f"{what:<6} {dollars(spent['microdollars'])}  {spent['calls']} calls · {tokens}"
