"""The neighbour that runs PostgreSQL and etcd as child processes of this one."""
