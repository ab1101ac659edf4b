"""Blocks and their proofs, terms, evidence, and the export of the whole record."""
