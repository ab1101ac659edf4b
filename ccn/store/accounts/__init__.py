"""Users and nodes: who may come in, on what, and for how long."""
