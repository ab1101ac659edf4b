import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Conversation(_message.Message):
    __slots__ = ("id", "character", "title", "open", "messages", "created_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    character: str
    title: str
    open: bool
    messages: int
    created_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., character: _Optional[str] = ..., title: _Optional[str] = ..., open: _Optional[bool] = ..., messages: _Optional[int] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("id", "conversation", "character", "host", "status", "model", "plate_version", "spawned_at", "heartbeat_at", "drift")
    ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PLATE_VERSION_FIELD_NUMBER: _ClassVar[int]
    SPAWNED_AT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_AT_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    id: str
    conversation: str
    character: str
    host: str
    status: str
    model: str
    plate_version: int
    spawned_at: _timestamp_pb2.Timestamp
    heartbeat_at: _timestamp_pb2.Timestamp
    drift: float
    def __init__(self, id: _Optional[str] = ..., conversation: _Optional[str] = ..., character: _Optional[str] = ..., host: _Optional[str] = ..., status: _Optional[str] = ..., model: _Optional[str] = ..., plate_version: _Optional[int] = ..., spawned_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., heartbeat_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., drift: _Optional[float] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("seq", "role", "content", "at", "turn")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    seq: int
    role: str
    content: str
    at: _timestamp_pb2.Timestamp
    turn: str
    def __init__(self, seq: _Optional[int] = ..., role: _Optional[str] = ..., content: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., turn: _Optional[str] = ...) -> None: ...

class SpawnRequest(_message.Message):
    __slots__ = ("character", "title", "idempotency_key")
    CHARACTER_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    character: str
    title: str
    idempotency_key: str
    def __init__(self, character: _Optional[str] = ..., title: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class SpawnAnswer(_message.Message):
    __slots__ = ("conversation", "instance")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    conversation: Conversation
    instance: Instance
    def __init__(self, conversation: _Optional[_Union[Conversation, _Mapping]] = ..., instance: _Optional[_Union[Instance, _Mapping]] = ...) -> None: ...

class ConverseRequest(_message.Message):
    __slots__ = ("conversation", "content", "idempotency_key", "refuse_if_busy", "language")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    REFUSE_IF_BUSY_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    content: str
    idempotency_key: str
    refuse_if_busy: bool
    language: str
    def __init__(self, conversation: _Optional[str] = ..., content: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., refuse_if_busy: _Optional[bool] = ..., language: _Optional[str] = ...) -> None: ...

class FollowRequest(_message.Message):
    __slots__ = ("conversation", "after")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    after: str
    def __init__(self, conversation: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("id", "accepted", "delta", "restart", "done", "failed", "cancelled", "waiting")
    ID_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    RESTART_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    id: str
    accepted: Accepted
    delta: str
    restart: str
    done: Done
    failed: Failed
    cancelled: Cancelled
    waiting: Waiting
    def __init__(self, id: _Optional[str] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., delta: _Optional[str] = ..., restart: _Optional[str] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., failed: _Optional[_Union[Failed, _Mapping]] = ..., cancelled: _Optional[_Union[Cancelled, _Mapping]] = ..., waiting: _Optional[_Union[Waiting, _Mapping]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("turn", "seq")
    TURN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    turn: str
    seq: int
    def __init__(self, turn: _Optional[str] = ..., seq: _Optional[int] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("stop", "model", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    STOP_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_READ_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    stop: str
    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    def __init__(self, stop: _Optional[str] = ..., model: _Optional[str] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., cache_read_tokens: _Optional[int] = ..., cache_write_tokens: _Optional[int] = ...) -> None: ...

class Waiting(_message.Message):
    __slots__ = ("number", "most", "pause_s", "reason")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    PAUSE_S_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    number: int
    most: int
    pause_s: float
    reason: str
    def __init__(self, number: _Optional[int] = ..., most: _Optional[int] = ..., pause_s: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class Failed(_message.Message):
    __slots__ = ("code", "detail")
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    code: str
    detail: str
    def __init__(self, code: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Cancelled(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("conversation", "turn")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    turn: str
    def __init__(self, conversation: _Optional[str] = ..., turn: _Optional[str] = ...) -> None: ...

class CancelAnswer(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: str
    def __init__(self, status: _Optional[str] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAnswer(_message.Message):
    __slots__ = ("instances", "next_page_token")
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    instances: _containers.RepeatedCompositeFieldContainer[Instance]
    next_page_token: str
    def __init__(self, instances: _Optional[_Iterable[_Union[Instance, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("conversation",)
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    def __init__(self, conversation: _Optional[str] = ...) -> None: ...

class GetAnswer(_message.Message):
    __slots__ = ("conversation", "instance")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    conversation: Conversation
    instance: Instance
    def __init__(self, conversation: _Optional[_Union[Conversation, _Mapping]] = ..., instance: _Optional[_Union[Instance, _Mapping]] = ...) -> None: ...

class TerminateRequest(_message.Message):
    __slots__ = ("conversation", "reason", "close")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    reason: str
    close: bool
    def __init__(self, conversation: _Optional[str] = ..., reason: _Optional[str] = ..., close: _Optional[bool] = ...) -> None: ...

class TerminateAnswer(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HistoryRequest(_message.Message):
    __slots__ = ("conversation", "before", "limit")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    before: int
    limit: int
    def __init__(self, conversation: _Optional[str] = ..., before: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class HistoryAnswer(_message.Message):
    __slots__ = ("messages", "before")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    before: int
    def __init__(self, messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., before: _Optional[int] = ...) -> None: ...

class BeginRequest(_message.Message):
    __slots__ = ("character", "title", "idempotency_key")
    CHARACTER_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    character: str
    title: str
    idempotency_key: str
    def __init__(self, character: _Optional[str] = ..., title: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class BeginAnswer(_message.Message):
    __slots__ = ("conversation",)
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    conversation: Conversation
    def __init__(self, conversation: _Optional[_Union[Conversation, _Mapping]] = ...) -> None: ...

class PromptRequest(_message.Message):
    __slots__ = ("conversation",)
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    def __init__(self, conversation: _Optional[str] = ...) -> None: ...

class PromptAnswer(_message.Message):
    __slots__ = ("model", "max_tokens", "system", "messages")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    model: str
    max_tokens: int
    system: _containers.RepeatedCompositeFieldContainer[Layer]
    messages: _containers.RepeatedCompositeFieldContainer[Said]
    def __init__(self, model: _Optional[str] = ..., max_tokens: _Optional[int] = ..., system: _Optional[_Iterable[_Union[Layer, _Mapping]]] = ..., messages: _Optional[_Iterable[_Union[Said, _Mapping]]] = ...) -> None: ...

class Layer(_message.Message):
    __slots__ = ("text", "mark")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    text: str
    mark: bool
    def __init__(self, text: _Optional[str] = ..., mark: _Optional[bool] = ...) -> None: ...

class Said(_message.Message):
    __slots__ = ("role", "text", "mark")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    role: str
    text: str
    mark: bool
    def __init__(self, role: _Optional[str] = ..., text: _Optional[str] = ..., mark: _Optional[bool] = ...) -> None: ...

class RecordRequest(_message.Message):
    __slots__ = ("conversation", "role", "content", "idempotency_key", "language")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    role: str
    content: str
    idempotency_key: str
    language: str
    def __init__(self, conversation: _Optional[str] = ..., role: _Optional[str] = ..., content: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., language: _Optional[str] = ...) -> None: ...

class RecordAnswer(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: Message
    def __init__(self, message: _Optional[_Union[Message, _Mapping]] = ...) -> None: ...

class HealthRequest(_message.Message):
    __slots__ = ("conversation",)
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    def __init__(self, conversation: _Optional[str] = ...) -> None: ...

class HealthAnswer(_message.Message):
    __slots__ = ("conversation", "open", "messages", "instance", "drift", "ccc", "phi", "trust", "emergence", "character", "relation", "measured_at")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    CCC_FIELD_NUMBER: _ClassVar[int]
    PHI_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    EMERGENCE_FIELD_NUMBER: _ClassVar[int]
    CHARACTER_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    MEASURED_AT_FIELD_NUMBER: _ClassVar[int]
    conversation: str
    open: bool
    messages: int
    instance: Instance
    drift: float
    ccc: float
    phi: float
    trust: float
    emergence: float
    character: _containers.RepeatedCompositeFieldContainer[Score]
    relation: _containers.RepeatedCompositeFieldContainer[Score]
    measured_at: _timestamp_pb2.Timestamp
    def __init__(self, conversation: _Optional[str] = ..., open: _Optional[bool] = ..., messages: _Optional[int] = ..., instance: _Optional[_Union[Instance, _Mapping]] = ..., drift: _Optional[float] = ..., ccc: _Optional[float] = ..., phi: _Optional[float] = ..., trust: _Optional[float] = ..., emergence: _Optional[float] = ..., character: _Optional[_Iterable[_Union[Score, _Mapping]]] = ..., relation: _Optional[_Iterable[_Union[Score, _Mapping]]] = ..., measured_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Score(_message.Message):
    __slots__ = ("axis", "score")
    AXIS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    axis: str
    score: float
    def __init__(self, axis: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...
