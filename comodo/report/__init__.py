"""Everything about a sweep that a person reads. Starts nothing."""
