"""Ways to change an export, each made from a seed: values, spellings, keys, lines, bytes.

`unproven` says what a record shows and cannot prove, which is all that such a change may touch unseen.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

JUNK: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    2**70,
    "",
    "x",
    "ff" * 32,
    [],
    {},
    [[]],
    {"a": 1},
    "\ud800",
    "a" * 5000,
)


def spelled(line: object) -> bytes:
    """As an export spells it."""
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def mutated(value: object, chance: random.Random) -> object:
    """The same with one thing in it replaced, taken out or put in."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        match chance.randrange(12):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return value | {"note": "forged"}
        return value | {key: mutated(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        match chance.randrange(12):
            case 0:
                return [*value[:place], *value[place + 1 :]]
            case 1:
                return [*value[:place], value[place], *value[place:]]
        return [*value[:place], mutated(value[place], chance), *value[place + 1 :]]
    if isinstance(value, int) and chance.random() < 0.5:
        return value + chance.choice((-1, 1, 2**40))
    if isinstance(value, str) and value and chance.random() < 0.5:
        place = chance.randrange(len(value))
        return value[:place] + chance.choice("0aZ=\n\u00e9") + value[place + 1 :]
    return chance.choice(JUNK)


def _value(lines: list[bytes], chance: random.Random) -> list[bytes]:
    place = chance.randrange(len(lines))
    return [*lines[:place], spelled(mutated(json.loads(lines[place]), chance)), *lines[place + 1 :]]


def _doubled(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """A key once more, before or after the true one."""
    place = chance.randrange(len(lines))
    line = lines[place]
    name = chance.choice(list(re.finditer(rb'(?<=[{,])"[a-z_]+":', line)))
    forged = name[0] + chance.choice((b'"I never said that."', b"[]", b"{}", b"1", b"null"))
    if chance.random() < 0.5:
        changed = line[: name.start()] + forged + b"," + line[name.start() :]
    else:
        changed = line[:-1] + b"," + forged + b"}"
    return [*lines[:place], changed, *lines[place + 1 :]]


def _respelled(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """The same value in other characters."""
    place = chance.randrange(len(lines))
    line = lines[place]
    at = chance.randrange(1, len(line))
    match chance.randrange(6):
        case 0:
            line = line[:at] + b" " + line[at:]
        case 1:
            line = line[:at] + b"\\u%04x" % line[at - 1] + line[at:]
        case 2:
            line = line[: at - 1] + b"\\u%04x" % line[at - 1] + line[at:]
        case 3:
            line = line[:at] + line[at:].upper()
        case 4:
            line = line[:at] + chance.choice((b".0", b"e0", b"0")) + line[at:]
        case _:
            line = json.dumps(json.loads(line), ensure_ascii=chance.random() < 0.5, sort_keys=True).encode()
    return [*lines[:place], line, *lines[place + 1 :]]


def _lines(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """A line taken out, twice, elsewhere; often with an end that counts them right again."""
    here, there = chance.randrange(len(lines)), chance.randrange(len(lines))
    changed = list(lines)
    match chance.randrange(4):
        case 0:
            del changed[here]
        case 1:
            changed.insert(there, changed[here])
        case 2:
            changed.insert(there, changed.pop(here))
        case _:
            changed[here], changed[there] = changed[there], changed[here]
    if chance.random() < 0.8 and changed and changed[-1].startswith(b'{"end"'):
        changed[-1] = spelled({"end": {"lines": len(changed) - 1}})
    return changed


def _bytes(lines: list[bytes], chance: random.Random) -> list[bytes]:
    data = b"\n".join(lines)
    at = chance.randrange(len(data))
    match chance.randrange(3):
        case 0:
            data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case 1:
            data = data[:at] + data[at + chance.randrange(1, 200) :]
        case _:
            data = data[:at] + chance.choice((b'"', b"\\", b"{", b"0", b"\n", b"\0", b"\xff")) + data[at:]
    return data.split(b"\n")


_WAYS: tuple[Callable[[list[bytes], random.Random], list[bytes]], ...] = (
    _value, _value, _value, _doubled, _respelled, _lines, _bytes,
)  # fmt: skip


def mutation(lines: list[bytes], seed: int) -> list[bytes]:
    """The lines of an export, without their ends, changed in one place."""
    chance = random.Random(seed)
    return chance.choice(_WAYS)(lines, chance)


def unproven(before: list[bytes], after: list[bytes]) -> bool:
    """Whether nothing is shown that was not shown before, but for what no record can prove.

    That is: leaves that no block has sealed, votes and cosignatures and checkpoints that are left out, the
    term of the founding, and the number of lines.
    """
    kept, changed = [_proved(line) for line in before], [_proved(line) for line in after]
    return [line for line in kept if line] == [line for line in changed if line] and (
        _signed(after) <= _signed(before)
    )


def _proved(line: bytes) -> object:
    shown = json.loads(line)
    match next(iter(shown)):
        case "waiting" | "checkpoint" | "end":
            return None
        case "record":
            return shown | {"row": {key: value for key, value in shown["row"].items() if key != "term"}}
        case "block":
            return {key: value for key, value in shown.items() if key != "votes"}
    return line


def _signed(lines: list[bytes]) -> set[str]:
    """Every vote, cosignature and checkpoint, with what it is about."""
    signed = set()
    for line in lines:
        shown = json.loads(line)
        if "block" in shown:
            signed |= {repr(vote) for vote in shown["votes"]}
        elif "checkpoint" in shown:
            note = shown["checkpoint"]
            signed |= {f"{note['size']} {note['note']} {each}" for each in [None, *note["cosignatures"]]}
    return signed
