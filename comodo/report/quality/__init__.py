"""Shows the quality of a data set's recordings, which `prepare` measured."""
