"""Who speaks where: instances that are spawned, hosted, handed over and taken over."""
