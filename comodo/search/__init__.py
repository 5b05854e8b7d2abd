"""Which trial runs next, and what is known of those that ran. Needs neither torch nor Ray."""
