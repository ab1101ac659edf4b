"""Programs to copy from: each talks with a running cluster, and a test runs each."""
