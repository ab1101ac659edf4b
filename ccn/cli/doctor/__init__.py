"""Looking at what a node will need, before it is started: this machine, and the servers that it calls."""
