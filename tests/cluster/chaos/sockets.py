"""Whose socket is at the other end of a connection on this machine: the kernel is asked, for one at a time.

The tables under /proc/net would tell as well. They have a line for every connection of the machine, and
reading them for each caller takes a busy machine so long that callers come faster than they are let in.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress

_SOCK_DIAG = 4  # the kernel's NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST = 1
_ANY_STATE = _NO_COOKIE = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI")
_PORTS = struct.Struct("!HH")
_BEFORE_INODE = 68
"""Of the kernel's inet_diag_msg: what was asked, timers, queues and the user come first."""


def owner(inode: int, processes: Iterable[tuple[str, int]]) -> str:
    """The name of the process whose socket it is."""
    link = f"socket:[{inode}]"
    for name, pid in processes:
        with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as opened:
            for each in opened:
                with suppress(OSError):
                    if os.readlink(each.path) == link:  # noqa: PTH115 - a Path for each costs as much again
                        return name
    return "a stranger"


def calling(port: int, door: int, host: str) -> int:
    """The inode of the socket that calls from one port to another, 0 if it has hung up by now."""
    address = socket.inet_aton(host).ljust(16, b"\0")
    between = _PORTS.pack(port, door) + address * 2 + struct.pack("=III", 0, _NO_COOKIE, _NO_COOKIE)
    question = _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, _ANY_STATE) + between
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.send(_HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST, 0, 0) + question)
        answer = kernel.recv(4096)
    if _HEADER.unpack_from(answer)[1] != _BY_FAMILY:
        return 0
    return int(struct.unpack_from("=I", answer, _HEADER.size + _BEFORE_INODE)[0])
