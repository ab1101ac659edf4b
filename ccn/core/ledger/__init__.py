"""The append-only record: leaves, the Merkle tree over them, proofs, signed statements and notes."""
