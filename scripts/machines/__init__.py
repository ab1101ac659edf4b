"""Machines made of network namespaces, of which one is cut off, comes back, and is replaced for ever."""
