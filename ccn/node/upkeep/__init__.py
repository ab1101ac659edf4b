"""Upkeep: what a node does at intervals, so that the database stays small and fast."""
