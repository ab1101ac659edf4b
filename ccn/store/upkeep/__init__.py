"""What is thrown away, summed up or wiped, and when."""
