"""One round of consensus: what nodes report, propose, vote, refuse and cosign, and what they remember."""
