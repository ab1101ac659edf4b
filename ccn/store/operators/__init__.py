"""What operators asked for."""
