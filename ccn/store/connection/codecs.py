"""How values travel on a connection: jsonb as Python values, and arrays without an introduction.

asyncpg asks anew on each connection what an array is when it meets one, and answering costs PostgreSQL more
than most statements do. The arrays here are part of every PostgreSQL, under the same numbers.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import orjson

if TYPE_CHECKING:
    from ccn.store.connection.pool import Connection

_ARRAYS = {
    "bool": (1000, 16),
    "bytea": (1001, 17),
    "int4": (1007, 23),
    "int8": (1016, 20),
    "float4": (1021, 700),
    "float8": (1022, 701),
    "date": (1182, 1082),
    "timestamptz": (1185, 1184),
    "uuid": (2951, 2950),
    "jsonb": (3807, 3802),
}
"""The number of the array of each type, and of the type itself. asyncpg knows that of text."""
_NOT_OF_ARRAYS = ("basetype", "range_subtype", "attrtypoids", "attrnames")


async def teach_codecs(connection: Connection) -> None:
    """Teach a new connection both."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=_encode_jsonb,
        decoder=lambda data: orjson.loads(data[1:]),
        format="binary",
    )
    with suppress(AttributeError):  # asyncpg has no public way to be told; if this one goes, it asks again
        cast("Any", connection)._protocol.get_settings().register_data_types(_DESCRIBED)  # noqa: SLF001


def _encode_jsonb(value: object) -> bytes:
    return b"\x01" + orjson.dumps(value)  # version 1 of jsonb's binary form


def _describe_array(name: str, oid: int, element: int) -> dict[str, object]:
    """An array as the answer to asyncpg's question describes it."""
    array = {"oid": oid, "ns": "pg_catalog", "name": f"_{name}", "kind": b"b"}
    elements = {"elemtype": element, "elemtype_name": name, "elemdelim": ","}
    return array | elements | dict.fromkeys(_NOT_OF_ARRAYS)


_DESCRIBED = [_describe_array(name, *numbers) for name, numbers in _ARRAYS.items()]
