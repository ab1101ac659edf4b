"""One turn: what is asked, what is said and kept of it, and who reads along.

    execution      the story of a turn, from its start to its end
    prefetch       what is made ready while the message is made durable
    prompts        the call that is sent, and what it is built from
    plates         the plates as one process reads them
    reply_attempt  one attempt at the reply: its pieces are written, and it is committed once
    turn_stream    the events of a turn, for readers at any node

A message is accepted before its turn begins, in `ccn.node.acceptance`.
"""
