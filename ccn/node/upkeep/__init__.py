"""What a node does now and then so that everything else stays small and fast."""
