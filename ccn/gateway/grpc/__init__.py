"""The gRPC door: peers, clients and health."""

from ccn.certificates import tls_floor

tls_floor.demand_tls_1_3()  # before a module of this package imports gRPC
