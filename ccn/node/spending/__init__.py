"""What calls to the model cost: reserved before, settled after, and shared out between users."""
