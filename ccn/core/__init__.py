"""What is decided: values in, values out. No clock, no randomness, no input or output lives here."""
