"""Students and teachers as networks. Knows nothing of how they are trained or measured."""
