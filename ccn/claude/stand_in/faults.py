"""What the stand-in is told to do wrong: rules for requests, given over HTTP or with one request.

    POST /stand-in/faults {"match": "storm", "times": 2, "status": 529}    from now on, newest rule first
    GET /stand-in/faults                                                   the rules that are in force
    DELETE /stand-in/faults                                                none any more
    x-stand-in: {"after": 3, "end": "cut"}                                 a header, for this request alone

A rule without `match` applies to every request, one with it to those with that text in their prompt. The
first rule that matches counts, and for `times` requests at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from typing import Any, Literal

STATUSES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
RULES_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class FaultRule:
    """One thing to do wrong. The defaults do nothing wrong."""

    match: str = ""
    times: int | None = None
    status: int | None = None  # answer with this error
    retry_after: float | None = None
    wait_s: float = 0.0  # before anything is answered
    pause_s: float = 0.0  # before each delta
    after: int = 0  # deltas before the end that follows
    end: Literal["", "cut", "stall", "error"] = ""
    drift: int = 0  # percent of replies that are out of character
    until: str = ""  # no drift once the prompt has this text
    stranger: bool = False  # fail every interview


class RuleInvalid(Exception):
    """What was posted is no rule."""


NONE = FaultRule()


class FaultRules:
    """The rules in force."""

    def __init__(self, rule: FaultRule = NONE) -> None:
        self._always = rule
        self._rules: list[FaultRule] = []

    def add_rule(self, rule: FaultRule) -> None:
        """Put a rule before the rules that are there."""
        self._rules.insert(0, rule)
        del self._rules[RULES_LIMIT:]

    def clear(self) -> None:
        """Do nothing wrong any more."""
        self._rules.clear()
        self._always = NONE

    def list_rules(self) -> list[dict[str, object]]:
        """List the rules as they can be posted again."""
        return [asdict(rule) for rule in self._rules]

    def take_rule(self, prompt: str) -> FaultRule:
        """Return the rule for a request, and count it as used once."""
        for place, rule in enumerate(self._rules):
            if rule.match in prompt:
                if rule.times is not None:
                    self._rules[place : place + 1] = [replace(rule, times=rule.times - 1)][: rule.times - 1]
                return rule
        return self._always


def rule_from_json(fault: object) -> FaultRule:
    """Read a rule from JSON."""
    if not isinstance(fault, dict):
        raise RuleInvalid("a rule is a JSON object")
    rule = FaultRule(**{key: fault[key] for key in fault if key in _TYPES})
    wrong = [key for key in fault if key not in _TYPES or not isinstance(fault[key], _TYPES[key])]
    if wrong or rule.end not in {"", "cut", "stall", "error"} or not 0 <= rule.drift <= 100:
        raise RuleInvalid(
            f"no rule has {', '.join(wrong) or 'such an end or drift'}; a rule has {', '.join(_TYPES)}"
        )
    if rule.status is not None and rule.status not in STATUSES:
        raise RuleInvalid(f"status is one of {', '.join(map(str, STATUSES))}")
    if rule.times is not None and rule.times < 1:
        raise RuleInvalid("times is at least 1")
    return rule


def reply_drifts(rule: FaultRule, request: Mapping[str, Any], prompt: str) -> bool:
    """Whether this reply is one of the share that is out of character. The same prompt decides alike."""
    if rule.until and rule.until in prompt:
        return False
    return int.from_bytes(sha256(f"drift {request}".encode()).digest()[:4], "big") % 100 < rule.drift


_NUMBER = (int, float)
_TYPES: Mapping[str, Any] = {
    "match": str,
    "times": (int, type(None)),
    "status": (int, type(None)),
    "retry_after": (*_NUMBER, type(None)),
    "wait_s": _NUMBER,
    "pause_s": _NUMBER,
    "after": int,
    "end": str,
    "drift": int,
    "until": str,
    "stranger": bool,
}
assert set(_TYPES) == {field.name for field in fields(FaultRule)}
