"""What commands print and log."""
