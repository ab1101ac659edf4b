"""The neighbour that keeps everything that must survive, in PostgreSQL."""
