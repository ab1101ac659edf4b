"""What is measured of a character, and what is done when an instance leaves it."""
