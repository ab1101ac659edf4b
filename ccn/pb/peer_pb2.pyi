from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HelloRequest(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class HelloAnswer(_message.Message):
    __slots__ = ("node", "key", "version", "height", "block", "timeline")
    NODE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    node: str
    key: bytes
    version: str
    height: int
    block: bytes
    timeline: DatabaseTimeline
    def __init__(self, node: _Optional[str] = ..., key: _Optional[bytes] = ..., version: _Optional[str] = ..., height: _Optional[int] = ..., block: _Optional[bytes] = ..., timeline: _Optional[_Union[DatabaseTimeline, _Mapping]] = ...) -> None: ...

class ReportRequest(_message.Message):
    __slots__ = ("node", "height", "term", "previous", "timeline")
    NODE_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    TIMELINE_FIELD_NUMBER: _ClassVar[int]
    node: str
    height: int
    term: int
    previous: bytes
    timeline: DatabaseTimeline
    def __init__(self, node: _Optional[str] = ..., height: _Optional[int] = ..., term: _Optional[int] = ..., previous: _Optional[bytes] = ..., timeline: _Optional[_Union[DatabaseTimeline, _Mapping]] = ...) -> None: ...

class DatabaseTimeline(_message.Message):
    __slots__ = ("system", "number")
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    system: int
    number: int
    def __init__(self, system: _Optional[int] = ..., number: _Optional[int] = ...) -> None: ...

class ReportAnswer(_message.Message):
    __slots__ = ("report", "refusal")
    REPORT_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    report: Report
    refusal: Refusal
    def __init__(self, report: _Optional[_Union[Report, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("node", "height", "term", "previous", "rosters", "first", "leaves", "wants", "signature")
    NODE_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    ROSTERS_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    WANTS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    node: str
    height: int
    term: int
    previous: bytes
    rosters: _containers.RepeatedCompositeFieldContainer[Roster]
    first: int
    leaves: bytes
    wants: bytes
    signature: bytes
    def __init__(self, node: _Optional[str] = ..., height: _Optional[int] = ..., term: _Optional[int] = ..., previous: _Optional[bytes] = ..., rosters: _Optional[_Iterable[_Union[Roster, _Mapping]]] = ..., first: _Optional[int] = ..., leaves: _Optional[bytes] = ..., wants: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Roster(_message.Message):
    __slots__ = ("character", "packed", "owners")
    CHARACTER_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    OWNERS_FIELD_NUMBER: _ClassVar[int]
    character: str
    packed: bytes
    owners: bytes
    def __init__(self, character: _Optional[str] = ..., packed: _Optional[bytes] = ..., owners: _Optional[bytes] = ...) -> None: ...

class Proposal(_message.Message):
    __slots__ = ("header", "reports", "next_rules", "signature")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_RULES_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    header: bytes
    reports: _containers.RepeatedCompositeFieldContainer[Report]
    next_rules: Rules
    signature: bytes
    def __init__(self, header: _Optional[bytes] = ..., reports: _Optional[_Iterable[_Union[Report, _Mapping]]] = ..., next_rules: _Optional[_Union[Rules, _Mapping]] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Rules(_message.Message):
    __slots__ = ("validators", "parameters")
    VALIDATORS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    validators: bytes
    parameters: bytes
    def __init__(self, validators: _Optional[bytes] = ..., parameters: _Optional[bytes] = ...) -> None: ...

class ProposeAnswer(_message.Message):
    __slots__ = ("vote", "refusal")
    VOTE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    vote: Vote
    refusal: Refusal
    def __init__(self, vote: _Optional[_Union[Vote, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class Vote(_message.Message):
    __slots__ = ("node", "height", "term", "block", "signature")
    NODE_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    node: str
    height: int
    term: int
    block: bytes
    signature: bytes
    def __init__(self, node: _Optional[str] = ..., height: _Optional[int] = ..., term: _Optional[int] = ..., block: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason", "detail")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    reason: str
    detail: str
    def __init__(self, reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class DecideRequest(_message.Message):
    __slots__ = ("node", "height", "term", "block")
    NODE_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    node: str
    height: int
    term: int
    block: bytes
    def __init__(self, node: _Optional[str] = ..., height: _Optional[int] = ..., term: _Optional[int] = ..., block: _Optional[bytes] = ...) -> None: ...

class DecideAnswer(_message.Message):
    __slots__ = ("cosignature", "refusal")
    COSIGNATURE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    cosignature: Cosignature
    refusal: Refusal
    def __init__(self, cosignature: _Optional[_Union[Cosignature, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class Cosignature(_message.Message):
    __slots__ = ("name", "key_id", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    key_id: bytes
    data: bytes
    def __init__(self, name: _Optional[str] = ..., key_id: _Optional[bytes] = ..., data: _Optional[bytes] = ...) -> None: ...

class BlocksRequest(_message.Message):
    __slots__ = ("node", "first")
    NODE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    node: str
    first: int
    def __init__(self, node: _Optional[str] = ..., first: _Optional[int] = ...) -> None: ...

class BlocksAnswer(_message.Message):
    __slots__ = ("blocks", "height")
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    blocks: _containers.RepeatedCompositeFieldContainer[Block]
    height: int
    def __init__(self, blocks: _Optional[_Iterable[_Union[Block, _Mapping]]] = ..., height: _Optional[int] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("header", "votes", "next_rules", "leaves")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    NEXT_RULES_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    header: bytes
    votes: _containers.RepeatedCompositeFieldContainer[Vote]
    next_rules: Rules
    leaves: bytes
    def __init__(self, header: _Optional[bytes] = ..., votes: _Optional[_Iterable[_Union[Vote, _Mapping]]] = ..., next_rules: _Optional[_Union[Rules, _Mapping]] = ..., leaves: _Optional[bytes] = ...) -> None: ...

class ForwardRequest(_message.Message):
    __slots__ = ("node", "instance", "method", "body")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    node: str
    instance: bytes
    method: str
    body: bytes
    def __init__(self, node: _Optional[str] = ..., instance: _Optional[bytes] = ..., method: _Optional[str] = ..., body: _Optional[bytes] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("body",)
    BODY_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    def __init__(self, body: _Optional[bytes] = ...) -> None: ...

class GatewayQuestion(_message.Message):
    __slots__ = ("gateway", "method", "credential", "reason", "body")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    gateway: str
    method: str
    credential: str
    reason: str
    body: bytes
    def __init__(self, gateway: _Optional[str] = ..., method: _Optional[str] = ..., credential: _Optional[str] = ..., reason: _Optional[str] = ..., body: _Optional[bytes] = ...) -> None: ...
