"""The files of `schema/` as words: in which order they run, what they lock, and what they may contain."""
