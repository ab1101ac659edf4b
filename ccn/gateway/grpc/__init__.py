"""The gRPC door: peers, clients and health."""
