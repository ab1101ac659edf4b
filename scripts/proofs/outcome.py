"""What came of a proof: figures to read, and those that must be 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProofOutcome:
    """Figures by name."""

    figures: Mapping[str, object]
    must_be_none: Mapping[str, int]
    """Each of these breaks a promise unless it is 0."""

    @property
    def kept(self) -> bool:
        """Whether all that was promised held."""
        return not any(self.must_be_none.values())

    def table(self, title: str) -> str:
        """Write them one a line."""
        rows = {**self.figures, **{f"{name} (0)": count for name, count in self.must_be_none.items()}}
        width = max(map(len, rows))
        lines = [f"  {name:<{width}}  {value}" for name, value in rows.items()]
        verdict = "kept" if self.kept else "BROKEN"
        return "\n".join([f"{title}: {verdict}", *lines])
