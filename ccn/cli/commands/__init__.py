"""The commands of `ccn`, one module for each group."""
