"""The page, the reference at `/docs`, and the examples in it."""
