"""What a process says that it is."""

from __future__ import annotations

from collections.abc import Callable

import ccn
from ccn import metrics


def test_readiness_and_build_are_told(value: Callable[[str], float | None]) -> None:
    metrics.process.set_check("test", passes=True)
    assert value('ccn_ready{check="test"}') == 1.0
    metrics.process.set_check("test", passes=False)
    assert value('ccn_ready{check="test"}') == 0.0
    metrics.process.set_build("node-7", ccn.__version__)
    assert value(f'ccn_build_info{{node="node-7",version="{ccn.__version__}"}}') == 1.0


def test_the_role_is_told(value: Callable[[str], float | None]) -> None:
    metrics.process.set_role("gateway")
    assert value('ccn_node_role{role="gateway"}') == 1.0


def test_a_protocol_that_is_not_known_yet_is_none(value: Callable[[str], float | None]) -> None:
    metrics.process.set_protocol(None, supported=True)
    assert (value("ccn_protocol"), value("ccn_protocol_supported")) == (0.0, 1.0)
    metrics.process.set_protocol(3, supported=False)
    assert (value("ccn_protocol"), value("ccn_protocol_supported")) == (3.0, 0.0)
