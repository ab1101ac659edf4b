"""Training of the offline character scorer: from a folder of texts to the committed weights."""
