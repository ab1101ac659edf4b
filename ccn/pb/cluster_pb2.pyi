import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusAnswer(_message.Message):
    __slots__ = ("node", "nodes", "leader", "term", "height", "quorum", "unsealed", "database_mode", "stopped", "protocol")
    NODE_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    UNSEALED_FIELD_NUMBER: _ClassVar[int]
    DATABASE_MODE_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    node: str
    nodes: _containers.RepeatedCompositeFieldContainer[Seat]
    leader: str
    term: int
    height: int
    quorum: int
    unsealed: int
    database_mode: str
    stopped: str
    protocol: int
    def __init__(self, node: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[Seat, _Mapping]]] = ..., leader: _Optional[str] = ..., term: _Optional[int] = ..., height: _Optional[int] = ..., quorum: _Optional[int] = ..., unsealed: _Optional[int] = ..., database_mode: _Optional[str] = ..., stopped: _Optional[str] = ..., protocol: _Optional[int] = ...) -> None: ...

class Seat(_message.Message):
    __slots__ = ("node", "votes", "here", "draining", "address", "version", "lowest_protocol", "highest_protocol", "outside")
    NODE_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    HERE_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LOWEST_PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    node: str
    votes: bool
    here: bool
    draining: bool
    address: str
    version: str
    lowest_protocol: int
    highest_protocol: int
    outside: bool
    def __init__(self, node: _Optional[str] = ..., votes: _Optional[bool] = ..., here: _Optional[bool] = ..., draining: _Optional[bool] = ..., address: _Optional[str] = ..., version: _Optional[str] = ..., lowest_protocol: _Optional[int] = ..., highest_protocol: _Optional[int] = ..., outside: _Optional[bool] = ...) -> None: ...

class WatchRoundsRequest(_message.Message):
    __slots__ = ("after",)
    AFTER_FIELD_NUMBER: _ClassVar[int]
    after: int
    def __init__(self, after: _Optional[int] = ...) -> None: ...

class Round(_message.Message):
    __slots__ = ("index", "term", "committed", "height", "reason", "leader", "hash", "leaves", "votes", "characters", "at")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    index: int
    term: int
    committed: bool
    height: int
    reason: str
    leader: str
    hash: str
    leaves: int
    votes: _containers.RepeatedScalarFieldContainer[str]
    characters: _containers.RepeatedCompositeFieldContainer[Agreement]
    at: _timestamp_pb2.Timestamp
    def __init__(self, index: _Optional[int] = ..., term: _Optional[int] = ..., committed: _Optional[bool] = ..., height: _Optional[int] = ..., reason: _Optional[str] = ..., leader: _Optional[str] = ..., hash: _Optional[str] = ..., leaves: _Optional[int] = ..., votes: _Optional[_Iterable[str]] = ..., characters: _Optional[_Iterable[_Union[Agreement, _Mapping]]] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Agreement(_message.Message):
    __slots__ = ("character", "instances", "outliers", "disputed")
    CHARACTER_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    OUTLIERS_FIELD_NUMBER: _ClassVar[int]
    DISPUTED_FIELD_NUMBER: _ClassVar[int]
    character: str
    instances: int
    outliers: int
    disputed: int
    def __init__(self, character: _Optional[str] = ..., instances: _Optional[int] = ..., outliers: _Optional[int] = ..., disputed: _Optional[int] = ...) -> None: ...

class ForceRoundRequest(_message.Message):
    __slots__ = ("idempotency_key",)
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    def __init__(self, idempotency_key: _Optional[str] = ...) -> None: ...

class ForceRoundAnswer(_message.Message):
    __slots__ = ("committed", "height", "term", "reason", "votes")
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    committed: bool
    height: int
    term: int
    reason: str
    votes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, committed: _Optional[bool] = ..., height: _Optional[int] = ..., term: _Optional[int] = ..., reason: _Optional[str] = ..., votes: _Optional[_Iterable[str]] = ...) -> None: ...
