"""A frozen student to metrics, intervals and results. Knows nothing of training."""
