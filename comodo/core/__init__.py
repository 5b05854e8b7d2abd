"""Files, processes and text for all other packages. Knows nothing of sweeps, data or models."""
