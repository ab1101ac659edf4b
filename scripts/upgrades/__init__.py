"""Programs of two releases in one cluster: the proof that nodes go from one to the other and back."""
