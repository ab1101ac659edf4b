"""The neighbour that tells who is here and who leads. Nothing that must survive is kept there."""
