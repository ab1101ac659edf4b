"""The neighbour that speaks to the other nodes over gRPC."""

from ccn.certificates import tls_floor

tls_floor.demand_tls_1_3()  # before a module of this package imports gRPC
