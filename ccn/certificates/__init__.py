"""Certificates: read from files, compared with the names of nodes, and issued where there is no authority.

    files        PEM files that settings name, for nodes and for etcd alike
    identity     what a node shows to the others, and the name that its certificate must have
    inspection   what a certificate says, and whether a node can show it
    issuing      an authority of a cluster's own, and the certificates that it issues

Separate from `peers`, because the command line issues certificates and `etcd` reads them. `inspection` and
`issuing` load the `cryptography` library, which is large: import them where there are certificates.
"""
