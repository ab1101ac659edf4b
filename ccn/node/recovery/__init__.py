"""What a node asks of a database before it serves, and what an operator may accept as lost."""
