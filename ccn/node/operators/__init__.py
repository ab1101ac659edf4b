"""What operators ask of a cluster: submitted, claimed by a node, and answered."""
