"""Calls of the functions in `schema/`, written with the names of their parameters.

A call of eighteen arrays by place is right only as long as nobody counts wrong. By name, the server refuses
a parameter that it does not know, and a test compares the names with those that the function has.
"""

from __future__ import annotations

from collections.abc import Iterable


def call_by_name(function: str, parameters: Iterable[str]) -> str:
    """Write a call that takes a value for each parameter, in this order: `$1` for the first."""
    return f"{function}({', '.join(f'{name} => ${nth}' for nth, name in enumerate(parameters, 1))})"
