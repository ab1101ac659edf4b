"""What doors and commands show of a node, a cluster and a character: read, never changed."""
