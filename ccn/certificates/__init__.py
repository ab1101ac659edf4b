"""Certificates: read from files, compared with the names of nodes, and issued where there is no authority.

    files        PEM files that settings name, for nodes and for etcd alike
    identity     what each end of a link shows, and the name that the certificate of a node must have
    watch        reads the files of all links again when they change, and keeps what was good
    inspection   what a certificate says, and whether a node can show it
    client_link  what a node shows to a server that it calls with Python's own TLS
    refusal      what one end has against the other, by the codes of OpenSSL
    handshake    finds out which end has to mend what
    server_context   what a door shows that Python's own TLS serves
    trust            whom a client trusts at a door, and why not
    tls_floor    demands TLS 1.3 of gRPC
    issuing      an authority of a cluster's own, and the certificates that it issues

Separate from `peers`, because the command line issues certificates and `etcd` reads them. `inspection` and
`issuing` load the `cryptography` library, which is large: import them where there are certificates.
"""
