"""What a sweep will do and cost, before anything starts."""
