"""Which trial runs next, and the results of those that ran. Needs neither torch nor Ray."""
