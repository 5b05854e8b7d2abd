"""Simulated recordings: people who move, what their cameras see and their IMUs measure."""
