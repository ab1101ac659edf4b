"""The one writer of a node: writes of many, committed together.

    writer          the group commit, at which callers submit their writes
    batch           the writes of one transaction, and what they decide
    durable_commit  sends a batch once, and finds out what became of it
    turn_steps, message_rows   the statements that a batch is sent as
    quotas          how much each user may have at once
    own_leaves      which leaves this node made
    reconnection    a connection that is made again

A write stands beside what it is about, as `CommitReply` in `ccn.store.conversations.turns`.
"""
