"""Keys and certificates of a cluster on this machine: of its nodes, its gateways and each link."""
