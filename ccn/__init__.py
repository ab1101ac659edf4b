"""CCN keeps one character alive across many Claude instances.

A character is written down once, in a plate. Instances of it are conversations with Claude, hosted by
node processes that come and go. Each node scores what its instances say on sixteen axes, reports the
vectors, and every ten seconds an elected leader proposes a block: the median character, who drifted from
it, and a Merkle root over everything written since the last block. A quorum of nodes recomputes, votes
and cosigns, so that an outsider can later verify the record without trusting any one node or the
database. What must survive lives in PostgreSQL; who is alive lives in etcd; a node's own disk holds only
its key and what it last signed.

Read `ccn.core` first (what is decided), then `ccn.node` (what happens), then the neighbours.
"""

__version__ = "0.1.0"
