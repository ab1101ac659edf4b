"""Processes that end with the test process that started them, however that one ends: by `kill -9`, too.

Linux sends the signal when the thread that forked ends, so a main thread starts them. Elsewhere they stay
behind until somebody ends them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def die_with(parent: int) -> None:
    """Have the kernel end this process with its parent, which may have ended already."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def tied() -> Callable[[], None]:
    """What a new process does first (`preexec_fn`) to end with this one."""
    itself = os.getpid()
    return lambda: die_with(itself)


def start(argv: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
    """Start a program that ends with this process; the options are those of `Popen`."""
    return subprocess.Popen(argv, preexec_fn=tied(), **options)  # noqa: PLW1509 - one call of the kernel
