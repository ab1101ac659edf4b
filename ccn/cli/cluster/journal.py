"""What the processes of a local cluster write: to a bounded file each and, with a name in front, to people.

A node writes JSON, because `ccn up` asks it to. A line that is not JSON, such as the interpreter's own last
words, is shown as it is.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ccn.cli.cluster.digest import LogDigest
from ccn.cli.output import lines, printing

LIMIT = 4 * 1024 * 1024
_LAST = 12
_SHOWN = 400
_PAINTS = tuple(f"\x1b[{code}m" for code in (36, 35, 34, 33, 32, 96, 95, 94))
_PLAIN = "\x1b[0m"


class ProcessJournal:
    """The lines of all processes. `say` gets each of them ready to show."""

    def __init__(
        self,
        folder: Path,
        say: Callable[[str], None],
        *,
        colour: bool,
        raw: bool,
        width: int,
        digest: LogDigest | None = None,
    ) -> None:
        self._folder, self._say, self._colour, self._raw, self._width = folder, say, colour, raw, width
        self._digest = digest or LogDigest()
        self._files: dict[str, BoundedLog] = {}
        self._last: dict[str, deque[str]] = {}
        self._paints = itertools.cycle(_PAINTS)
        self._names: dict[str, str] = {}

    def add_line(self, name: str, text: str) -> None:
        """Add a line that a process wrote."""
        if name not in self._files:
            self._files[name] = BoundedLog(self._folder / f"{name}.log")
            self._last[name] = deque(maxlen=_LAST)
        self._files[name].append(text)
        event = _event_from_line(text)
        self._last[name].append(self._format_line(text, event, colour=False))
        if self._raw:
            self._say(_line_to_json(name, text))
            return
        if event is None or self._digest.is_worth_showing(name, event):
            self._say(f"{self._paint_name(name)}  {self._format_line(text, event, colour=self._colour)}")
        for more in self._digest.due_lines():
            self._say(f"{'':{self._width}}  {more}")

    def add_note(self, name: str, level: str, event: str) -> None:
        """Add a line about something that happened to a process."""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        self.add_line(name, json.dumps({"event": event, "level": level, "timestamp": now, "node": name}))

    def last_lines(self, name: str) -> str:
        """Return the last lines of a process, for a message about its end."""
        return "\n".join(f"    {line}" for line in self._last.get(name, ()))

    def close(self) -> None:
        """Close the files: no more lines come."""
        for file in self._files.values():
            file.close()

    def _format_line(self, text: str, event: Mapping[str, object] | None, *, colour: bool) -> str:
        if event is not None:
            return lines.render_event(event, colour=colour, brief=True)
        return printing.to_one_line(text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …")

    def _paint_name(self, name: str) -> str:
        if name not in self._names:
            paint = next(self._paints) if self._colour else ""
            self._names[name] = f"{paint}{name:{self._width}}{_PLAIN if paint else ''}"
        return self._names[name]


def _event_from_line(text: str) -> Mapping[str, object] | None:
    with suppress(ValueError):
        event = json.loads(text)
        if isinstance(event, dict) and "event" in event:
            return event
    return None


def _line_to_json(name: str, text: str) -> str:
    return text if text.startswith("{") else json.dumps({"event": text, "node": name}, ensure_ascii=False)


class BoundedLog:
    """A log that never grows beyond twice `LIMIT`: older lines go to a second file, then away."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self._path, self._limit = path, limit
        self._file: BinaryIO | None = None

    def append(self, line: str) -> None:
        """Add a line. A full disk costs lines of the log, nothing else."""
        with suppress(OSError):
            file = self._file or self._open_file()
            file.write(line.encode("utf-8", "replace") + b"\n")
            if file.tell() > self._limit:
                self.close()
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))

    def close(self) -> None:
        """Close the file. The next line opens it again."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()

    def _open_file(self) -> BinaryIO:
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        self._file = os.fdopen(handle, "ab", buffering=0)
        return self._file
