"""From recordings to windows to memory-mapped arrays. Knows no model and no Ray."""
