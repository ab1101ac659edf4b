"""The one writer of a node: writes of many, committed together."""
