"""What calls cost, and what is set aside for them."""
