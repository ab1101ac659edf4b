"""The key of a node and what it signed, on its disk."""
