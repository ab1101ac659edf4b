"""Plates, and the prompts that are built from a plate, an anchor and what was said."""
