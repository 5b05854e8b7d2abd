"""Which trial runs next, and the results of those that ran. Only `history` needs torch; no Ray."""
