"""The composition root of one node: every neighbour it opens, every part it runs, and how it ends."""
