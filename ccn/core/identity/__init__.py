"""Who a node is: registrations, addresses, revoked certificates, and keys for access tokens."""
