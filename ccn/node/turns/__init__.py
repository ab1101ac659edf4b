"""One turn: what is asked, what is said and kept of it, and who reads along."""
