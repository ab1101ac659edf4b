"""The sockets of a process, as the kernel lists them (proc_net(5)): no library stands between."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LISTENING = "0A"
_CONNECTED = {"01", "02"}  # the second still waits for an answer
_TABLES = ("tcp", "tcp6", "udp", "udp6")


@dataclass(frozen=True)
class Socket:
    """One socket: whether it listens, its own port, and the port at the other end."""

    protocol: str
    listens: bool
    port: int
    other_port: int


def of_process(pid: int) -> set[Socket]:
    """All sockets of a process that listen or are connected."""
    inodes = set[str]()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            kind, _, inode = str(handle.readlink()).partition(":")
            inodes |= {inode.strip("[]")} if kind == "socket" else set()
    found = set[Socket]()
    for protocol in _TABLES:
        for line in Path(f"/proc/{pid}/net/{protocol}").read_text().splitlines()[1:]:
            fields = line.split()
            listens = fields[3] == _LISTENING or protocol.startswith("udp")
            if fields[9] in inodes and (listens or fields[3] in _CONNECTED):
                found.add(Socket(protocol, listens, _port(fields[1]), _port(fields[2])))
    return found


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
