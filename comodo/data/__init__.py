"""Recordings to windows to mapped arrays. Knows no model and no Ray."""
