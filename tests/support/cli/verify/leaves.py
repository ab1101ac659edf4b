"""Bodies of leaves and the rows beside them, true as they are; a test says what is not."""

from __future__ import annotations

from typing import Any

from tests.support.cli.verify.forger import Leaf, canonical, sha256

CONVERSATION = "01900000-0000-7000-8000-00000000000c"
ELSEWHERE = "01900000-0000-7000-8000-00000000001c"
INSTANCE = "01900000-0000-7000-8000-00000000000a"
TURN = "01900000-0000-7000-8000-00000000000d"
OWNER = "01900000-0000-7000-8000-00000000000e"
SALT = bytes(32)


def begun(version: int = 1, **changed: Any) -> Leaf:
    body = {
        "at": version, "character": "ada", "conversation": CONVERSATION, "kind": "conversation",
        "owner": OWNER, "plate": 1, "status": "open", "v": 1, "version": version,
    }  # fmt: skip
    return body | changed, {}


def said(seq: int, text: str | None = "hello", **changed: Any) -> Leaf:
    """A message; one without a text was redacted."""
    data = (text or "").encode()
    content = sha256(b"ccn/content/v1\0" + SALT + len(data).to_bytes(8, "big") + data).hex()
    body = {
        "at": 1, "content": content, "conversation": CONVERSATION, "epoch": 0, "kind": "message",
        "role": "user", "seq": seq, "speaker": f"account:{OWNER}", "turn": None, "v": 2,
    }  # fmt: skip
    return body | changed, {} if text is None else {"content": text, "salt": SALT.hex()}


def asked(seq: int, **changed: Any) -> Leaf:
    """The message that a turn answers."""
    return said(seq, **{"turn": TURN} | changed)


def replied(seq: int, **changed: Any) -> Leaf:
    return said(seq, **{"role": "assistant", "speaker": f"instance:{INSTANCE}", "turn": TURN} | changed)


def ended(user: int, reply: int | None, **changed: Any) -> Leaf:
    """The end of a turn."""
    body = {
        "at": 1, "conversation": CONVERSATION, "epoch": 0, "error": None, "kind": "turn", "reply": reply,
        "status": "failed" if reply is None else "committed", "turn": TURN, "user": user, "v": 1,
    }  # fmt: skip
    return body | changed, {}


def lived(version: int = 1, **changed: Any) -> Leaf:
    """A version of an instance."""
    body = {
        "at": 1, "conversation": CONVERSATION, "epoch": 0, "host": "node-1", "instance": INSTANCE,
        "kind": "instance", "model": "model-1", "plate": 1, "reason": "spawned", "status": "running",
        "v": 1, "version": version,
    }  # fmt: skip
    return body | changed, {}


def plate(version: int = 1, content: str = "# Ada", **changed: Any) -> Leaf:
    body = {
        "at": 1, "by": "ann", "character": "ada", "hash": sha256(content.encode()).hex(), "kind": "plate",
        "v": 1, "version": version,
    }  # fmt: skip
    return body | changed, {"content": content}


def snapshot(state: dict[str, Any] | None = None, **changed: Any) -> Leaf:
    state = {"at": 1, "conversation": CONVERSATION, "head": 0} | (state or {})
    body = {
        "at": 1, "conversation": CONVERSATION, "hash": sha256(canonical(state)).hex(), "head": 0,
        "kind": "snapshot", "snapshot": "01900000-0000-7000-8000-0000000000f0", "v": 1,
    }  # fmt: skip
    return body | changed, {"state": dict(sorted(state.items()))}


def redacted(first: int, last: int, **changed: Any) -> Leaf:
    body = {
        "at": 1, "by": "ann", "conversation": CONVERSATION, "first": first, "kind": "redaction",
        "last": last, "reason": "asked for", "v": 1,
    }  # fmt: skip
    return body | changed, {}


def requested(question: dict[str, Any] | None = None, **changed: Any) -> Leaf:
    """An operator's request that failed."""
    question, answer = question or {}, {"error": "conflict"}
    body = {
        "asked": 1, "at": 1, "body": sha256(canonical(question)).hex(), "by": "ann", "command": "redact",
        "error": "conflict", "for": None, "kind": "operator", "outcome": sha256(canonical(answer)).hex(),
        "request": "01900000-0000-7000-8000-0000000000f1", "v": 1,
    }  # fmt: skip
    return body | changed, {"asked": question, "answer": answer}


def vector(*scores: object, **changed: Any) -> Leaf:
    body = {
        "at": 1, "conversation": CONVERSATION, "instance": INSTANCE, "kind": "vector", "scorer": "s",
        "seq": 1, "v": 1, "vector": list(scores) or [0, 1_000_000, None, *[500_000] * 13],
    }  # fmt: skip
    return body | changed, {}


def version_row(version: int = 1, **changed: Any) -> dict[str, Any]:
    """The row of a version of the conversation."""
    row = {
        "conversation": CONVERSATION, "version": version, "at": version, "plate": 1, "status": "open",
        "character": "ada", "owner": OWNER,
    }  # fmt: skip
    return {"conversation": row | changed}


def standing(head: int = 0, **changed: Any) -> dict[str, Any]:
    """How the conversation stands now."""
    row = {"conversation": CONVERSATION, "version": 1, "status": "open", "plate": 1, "head": head}
    return {"standing": row | changed}


def standing_instance(**changed: Any) -> dict[str, Any]:
    """How the instance stands now."""
    row = {"instance": INSTANCE, "version": 1, "status": "running", "host": "node-1", "epoch": 0}
    return {"standing": row | changed}


def shown_as(leaf: Leaf, **beside: Any) -> Leaf:
    """The same with something else beside it; None takes it away."""
    body, shown = leaf
    return body, {key: value for key, value in (shown | beside).items() if value is not None}
