"""What one call to a model is, and what it costs."""
