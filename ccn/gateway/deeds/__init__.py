"""What callers ask for that ends in the record or needs a key. Doors ask here; the rest they read.

    interface      what there is to ask for
    house          a voter answers itself: it has the writer, the instances and the keys
    remote         a gateway asks a voter, over the peer API
    remote_conversations, remote_accounts, remote_model   the same for what has a state of its own
    known_hosts    which voter hosts a conversation, as a gateway remembers it
    voter_calls    which voter a gateway asks, and what it does when that one does not answer
    answers        what a voter says to a gateway: it looks at the caller's credential itself
    news           what a gateway asks all voters once a second
    seen_gateways  which gateways a voter has heard of lately
    values         the same values in JSON, for both ends

A door does not know who is behind it. Whatever a gateway cannot do by reading stands in `interface`.
"""
