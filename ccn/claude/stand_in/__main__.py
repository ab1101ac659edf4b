"""`python -m ccn.claude.stand_in`."""

from __future__ import annotations

from ccn.claude.stand_in import server

server.main()
