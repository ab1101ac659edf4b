"""The prompt for the model, in layers from the one that never changes to the one that always does.

    rules and plate   as long as the plate has this version             marked
    state             the character's and the relation's, as it began   marked
    memories          of earlier conversations with the same person     marked
    earlier           quotes of this conversation, before `kept_from`
    history           this conversation, word for word                  its last message is marked
    this message      with the state, if that has moved; both stay in the history as they are

A mark asks the provider to keep everything above it in its cache; there are at most four. For each turn the
caller reads the anchor of the conversation and the scene that it names. `update_anchor` decides whether the
anchor has to move; if so, the caller keeps the new one and reads its scene. `build_call` makes the call:

    update_anchor(plate, anchor, scene, measured, limits) -> Anchor
    build_call(plate, anchor, scene, limits) -> Call

The same values make the same bytes on every node and after every restart. When a budget is reached, the
oldest half of the history turns into quotes at once, so that the bytes then stay the same for long. The
plate is never shortened. A turn's reply follows its own message, even if others were sent meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ccn import errors
from ccn.core.calls import tokens
from ccn.core.calls.call import Call, CallBlock, CallMessage
from ccn.core.message import Message, Role
from ccn.core.prompts import anchor as anchors
from ccn.core.prompts import markup, wording
from ccn.core.prompts.anchor import Anchor, MeasuredStates
from ccn.core.prompts.plate import Plate
from ccn.core.prompts.wording import PromptMemory

HISTORY_LIMIT = 1_000
"""Messages in full at most, whatever their length."""
_STATE_TOKENS = 2_000
"""For the state above the history and one beside the message."""
_ROOM_TOKENS = 1_000


@dataclass(frozen=True, slots=True)
class PromptLimits:
    """What a call may cost: settings of the cluster, the same on every node."""

    model: str
    max_tokens: int = 4_096
    """Tokens of the reply."""
    budget: int = 100_000
    """Estimated tokens of the whole prompt."""
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """What the anchor names, as it is read today, and the message to answer.

    `said` holds this conversation: the quoted messages before `kept_from`, everything from there up to
    `this`, and replies to those; more does no harm.
    """

    this_seq: int
    messages: tuple[Message, ...]
    memories: tuple[PromptMemory, ...] = ()
    collaborator: str = ""


def build_call(plate: Plate, anchor: Anchor, scene: Scene, limits: PromptLimits) -> Call:
    """Build the call for one turn. The anchor is one that `update_anchor` returned."""
    earlier, history, this = _split_scene(anchor, scene)
    check_message(plate, wording.write_message(this), limits)
    system = [
        CallBlock(wording.write_plate(plate, anchor.plate), mark=True),
        CallBlock(wording.write_state(plate, anchor.states[0], scene.collaborator), mark=True),
    ]
    if remembered := wording.write_memories(scene.memories, limits.budget // 8):
        system.append(CallBlock(remembered, mark=True))
    if quoted := wording.write_earlier(earlier, limits.budget // 8):
        system.append(CallBlock(quoted))
    texts = _message_texts(plate, anchor, [*history, this])
    messages = [*_history_to_call(history, texts), CallMessage(Role.USER, texts[-1])]
    return Call(limits.model, tuple(system), tuple(messages), limits.max_tokens, limits.temperature)


def replace_message(call: Call, asked: str, other: str) -> Call:
    """Replace the message to answer. Everything above it stays the same."""
    *before, last = call.messages
    beside = last.text.removesuffix(markup.escape_marks(asked))
    return replace(call, messages=(*before, replace(last, text=beside + markup.escape_marks(other))))


def update_anchor(
    plate: Plate,
    anchor: Anchor,
    scene: Scene,
    now: MeasuredStates,
    limits: PromptLimits,
    *,
    ordered: bool = False,
) -> Anchor:
    """Return the same anchor while it serves, or its next version, which must be kept before it is used.

    `ordered` is for an instance that is being brought back to character.
    """
    kept_from = _choose_beginning(plate, anchor, scene, limits)
    if kept_from != anchor.kept_from:
        return anchors.compact_anchor(anchor, now, scene.this_seq, kept_from, ordered=ordered)
    return anchors.refresh_anchor(anchor, now, scene.this_seq, ordered=ordered)


@lru_cache(maxsize=64)
def room_for_talk(plate: Plate, limits: PromptLimits) -> int:
    """Tokens for history and message together, however much the other layers take of their shares."""
    own = tokens.estimate_tokens(wording.write_plate(plate, 1)) + _STATE_TOKENS
    left = limits.budget - own - 2 * (limits.budget // 8)
    if left < _ROOM_TOKENS:
        raise errors.PlateInvalid(
            f"the plate takes about {own} of a prompt's {limits.budget} tokens and leaves no room to talk"
        )
    return left


def check_message(plate: Plate, content: str, limits: PromptLimits) -> None:
    """Refuse a message that no prompt has room for, before it is accepted: then it must be answered."""
    needed, allowed = tokens.estimate_tokens(markup.escape_marks(content)), room_for_talk(plate, limits)
    if needed > allowed:
        raise errors.MessageTooLong(
            f"the message takes about {needed} tokens of {allowed} there is room for"
        )


def places_to_quote(kept_from: int) -> tuple[int, ...]:
    """Which of the messages before a place are quoted: the first, the last, and some between."""
    last = kept_from - 1
    if last <= wording.EARLIER_LIMIT:
        return tuple(range(1, kept_from))
    ends = {*range(1, 5), *range(last - 7, last + 1)}
    between = wording.EARLIER_LIMIT - len(ends)
    span = last - 12
    return tuple(sorted(ends | {5 + span * nth // between for nth in range(between)}))


def call_to_text(call: Call) -> str:
    """The call for people to read: every word that is sent, in order, and where the marks are."""
    head = f"model {call.model} · at most {call.max_tokens} tokens"
    if call.temperature is not None:
        head += f" · temperature {call.temperature:g}"
    parts = [("system", block.text, block.mark) for block in call.system]
    parts += [(said.role.value, said.text, said.mark) for said in call.messages]
    written = [f"\n[{who}{' · mark' if mark else ''}]\n{text}" for who, text, mark in parts]
    return "\n".join([head, *written]) + "\n"


def _history_to_call(history: Sequence[Message], texts: Sequence[str]) -> list[CallMessage]:
    messages = [CallMessage(message.role, text) for message, text in zip(history, texts, strict=False)]
    if messages:
        messages[-1] = replace(messages[-1], mark=True)
    if messages and messages[0].role is Role.ASSISTANT:
        messages.insert(
            0, CallMessage(Role.USER, wording.OPENING)
        )  # a conversation has to begin with the user
    return messages


def _message_texts(plate: Plate, anchor: Anchor, messages: Sequence[Message]) -> list[str]:
    """Messages as they stand in the prompt, with each state that is shown beside one of the user's."""
    beside = dict[int, str]()
    for state in anchor.states[1:]:
        users = (
            message.seq for message in messages if message.role is Role.USER and message.seq >= state.seq
        )
        if (seq := next(users, None)) is not None:
            beside[seq] = beside.get(seq, "") + wording.write_state_beside(plate, state)
    return [beside.get(message.seq, "") + wording.write_message(message) for message in messages]


def _split_scene(anchor: Anchor, scene: Scene) -> tuple[list[Message], list[Message], Message]:
    """Split the messages into those to quote, those to show in full, and the one to answer."""
    places = set(places_to_quote(anchor.kept_from))
    earlier = sorted((each for each in scene.messages if each.seq in places), key=lambda each: each.seq)
    full = order_by_turn([message for message in scene.messages if message.seq >= anchor.kept_from])
    for place, message in enumerate(full):
        if message.seq == scene.this_seq and message.role is Role.USER and message.content is not None:
            return earlier, full[:place], message
    raise errors.InputInvalid(
        f"message {scene.this_seq} cannot be answered: it was redacted, or is not there"
    )


def order_by_turn(messages: Sequence[Message]) -> list[Message]:
    """Each reply behind the message it answers; one whose message is not among them is left out."""
    replies = {
        each.turn: each for each in messages if each.role is Role.ASSISTANT and each.turn is not None
    }
    ordered = list[Message]()
    for message in sorted(messages, key=lambda each: each.seq):
        if message.role is Role.ASSISTANT and message.turn is not None:
            continue
        ordered.append(message)
        if message.turn is not None and message.turn in replies:
            ordered.append(replies[message.turn])
    return ordered


def _choose_beginning(plate: Plate, anchor: Anchor, scene: Scene, limits: PromptLimits) -> int:
    """Where the history has to begin: where it does, or in its younger half if there is no room."""
    _, history, this = _split_scene(anchor, scene)
    left = room_for_talk(plate, limits) - tokens.estimate_tokens(wording.write_message(this))
    texts = _message_texts(plate, anchor, [*history, this])[:-1]
    if len(history) <= HISTORY_LIMIT and sum(map(tokens.bound_tokens, texts)) <= left:
        return anchor.kept_from
    needed = [tokens.estimate_tokens(text) for text in texts]
    if len(history) <= HISTORY_LIMIT and sum(needed) <= left:
        return anchor.kept_from
    kept, begin = 0, this.seq
    most = HISTORY_LIMIT // 2
    for nth, (message, cost) in enumerate(reversed(list(zip(history, needed, strict=True)))):
        kept += cost
        if kept > left // 2 or nth >= most:
            break
        if message.role is Role.USER:
            begin = message.seq
    return begin
