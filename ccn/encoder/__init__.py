"""The neighbour that runs a sentence encoder, from a folder that the operator supplies."""
