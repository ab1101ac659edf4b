"""Replicas of PostgreSQL, which answer what is only read: where each one is, and whether it will do.

    addresses       the replicas that a URL names, each with a URL of its own
    primary_log     how far the primary's log is, and since when
    replica         one replica: whether it follows the primary, and how far it is
    replica_set     all of them, looked at once in a second; which one is far enough for a read
    reads           a read on a replica, and on the primary where none will do
    shared_ask      one question for all who ask it at the same time

Nothing is decided upon what a replica says. `ccn/docs/decisions` tells why a read asks the primary first.
"""
