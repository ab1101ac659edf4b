"""The process that commands of tests are forked from: one for all workers of a run.

Importing all of CCN takes longer than most of these tests, so it happens once, when the first of them asks.
Each worker then has a fork server of its own, a fork of this one, which ends when the worker does, however
that ends; and all end with the process that started the run.
"""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.support import processes

ADDRESS = "TEST_NURSERY"
"""The name of the variable that tells workers where it listens. By its name it is no setting of CCN."""
_ROOT = Path(__file__).parents[3]


def offer() -> None:
    """Let this process and those that it starts have one. It costs next to nothing until it is asked."""
    if ADDRESS in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="ccn-nursery-")
    os.environ[ADDRESS] = f"{folder}/socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(os.environ[ADDRESS])
        listening.listen()
        program = f"from tests.support.cli import nursery; nursery.main({os.getpid()})"
        command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(_ROOT)!r}); {program}"]
        # gRPC's handlers around fork() are in the way here; it reads this when it is imported.
        environ = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "false"}
        process = subprocess.Popen(command, stdin=listening.fileno(), env=environ, start_new_session=True)

    def end() -> None:
        process.kill()
        process.wait()
        shutil.rmtree(folder)

    atexit.register(end)


def connect() -> socket.socket:
    """Have a fork server at the other end of a line, for as long as this end is open."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.connect(os.environ[ADDRESS])
    return line


def main(starter: int) -> None:
    """Fork a fork server for each line, once everything is imported."""
    processes.die_with(starter)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored in the background
    listening = socket.socket(fileno=os.dup(0))
    line, _ = listening.accept()
    _import_all()
    signal.signal(signal.SIGCHLD, lambda *_: _reap_children())
    itself = os.getpid()
    while os.fork():
        line.close()
        line, _ = listening.accept()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listening.close()
    processes.die_with(itself)

    from ccn.cli.cluster import fork_server

    fork_server.serve_forks(line, _be_command)


def _reap_children() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _import_all() -> None:
    gc.disable()
    from ccn import cli
    from ccn.cli.cluster import lifecycle  # noqa: F401
    from ccn.service import lifetime  # noqa: F401

    cli.Commands.load_commands()
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, every page
    gc.enable()


def _be_command() -> None:
    """Be `ccn`, or a program of tests that is made of the same."""
    from ccn import cli
    from tests.cluster.chaos import breakable
    from tests.support.cluster import forked_up

    tempfile.tempdir = None  # by the environment of this command, and not by that of the nursery
    match sys.argv[1:]:
        case [forked_up.NAME, *options]:
            forked_up.main(options)
        case [breakable.NAME, folder]:
            breakable.be_node(Path(folder))
        case _:
            cli.main()
