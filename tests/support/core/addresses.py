"""Addresses that a client which knows one may follow to another, and those that it may not."""

from __future__ import annotations

SECURE, CLEAR, HERE = "https://ccn.example.org", "http://ccn.example.org:7700", "http://127.0.0.1:7700"
FOLLOWED = (
    (HERE, "http://127.0.0.1:7710"),
    (HERE, "http://localhost:7710"),
    (HERE, "http://[::1]:7710"),
    ("http://localhost:7700", "http://127.0.0.2:1"),
    (CLEAR, "http://CCN.example.org:7710"),
    (CLEAR, SECURE),
    (SECURE, "https://10.0.0.7:7700"),
    (SECURE, "https://other.example.org/"),
)
NOT_FOLLOWED = (
    (HERE, "http://10.0.0.7:7700"),
    (HERE, "https://elsewhere.example.org"),
    (HERE, "http://127.0.0.1@elsewhere.example.org:7700"),
    (HERE, "http://127.0.0.1.example.org:7700"),
    (CLEAR, "http://other.example.org:7700"),
    (CLEAR, "https://other.example.org"),
    (CLEAR, HERE),
    ("http://10.0.0.7:7700", HERE),
    (SECURE, CLEAR),
    (SECURE, HERE),
    (HERE, "127.0.0.1:7710"),
    (HERE, "ftp://127.0.0.1:7710"),
    (HERE, "http://"),
    (HERE, "http://127.0.0.1:x"),
    (HERE, "http://[::1"),
    (HERE, ""),
)
