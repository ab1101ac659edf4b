"""The neighbour that tells who is here and who leads. Nothing that must survive is kept there."""

from ccn.certificates import tls_floor

tls_floor.demand_tls_1_3()  # before a module of this package imports gRPC
