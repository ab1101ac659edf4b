"""The neighbour that speaks to the other nodes over gRPC."""
