"""Words that come in pieces, broken into lines as wide as a terminal, whose rows are counted.

A terminal breaks a line wherever it ends, also within a word, and does not tell where it did. So words are
held back until they are whole, and lines are broken here; what is counted can be taken back.
"""

from __future__ import annotations

import re

from rich.cells import cell_len, chop_cells

_PART = re.compile(r"\n|[^\S\n]+|\S+")


class WordWrapper:
    """One text on its way to a terminal of this width."""

    def __init__(self, width: int) -> None:
        self.rows = 1
        self._width, self._column = max(8, width), 0
        self._word, self._gap = "", ""

    def feed(self, text: str) -> str:
        """What can be shown now."""
        shown = ""
        for part in _PART.findall(text):
            if part.isspace():
                shown += self._place_word()
                shown += self._break_line() if part == "\n" else ""
                self._gap = "" if part == "\n" else self._gap + part.replace("\t", "    ")
            else:
                self._word += part
                if cell_len(self._word) >= self._width:
                    shown += self._place_word()
        return shown

    def flush(self) -> str:
        """What was held back."""
        return self._place_word()

    def _place_word(self) -> str:
        """The word, on this line if it has room there, on further ones if none has."""
        word, gap = self._word, self._gap
        if not word:
            return ""
        self._word, self._gap = "", ""
        shown = gap
        if self._column + cell_len(gap + word) > self._width:
            # At most half of a line is indentation, or the word would be broken into letters beside it.
            shown = self._break_line() if self._column else "".join(chop_cells(gap, self._width // 2)[:1])
        self._column += cell_len(shown.lstrip("\n"))
        pieces = chop_cells(word, max(1, self._width - self._column)) or [word]  # an accent alone has none
        for nth, piece in enumerate(pieces):
            shown += (self._break_line() if nth else "") + piece
            self._column += cell_len(piece)
        return shown

    def _break_line(self) -> str:
        self.rows += 1
        self._column = 0
        return "\n"
