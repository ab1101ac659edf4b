"""The command line: one file per family of commands, each translating words into calls below."""
