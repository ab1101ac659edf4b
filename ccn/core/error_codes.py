"""The codes of errors: the fixed words by which programs tell them apart, over HTTP and gRPC alike.

Separate from `errors`, which only holds the tree: servers and clients need both directions.
"""

from __future__ import annotations

import re

from ccn import errors


def code_from_name(name: str) -> str:
    """The code of an error with this name: `TurnRunning` is `turn_running`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def error_from_code(code: str) -> type[errors.CCNError] | None:
    """The error with this code, if this version has one."""
    return _NAMED.get(code)


def _error_classes(kind: type[errors.CCNError]) -> list[type[errors.CCNError]]:
    return [kind, *(below for each in kind.__subclasses__() for below in _error_classes(each))]


_NAMED = {code_from_name(kind.__name__): kind for kind in _error_classes(errors.CCNError)}
