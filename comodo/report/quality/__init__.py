"""What is known of the recordings of a data set, and what is wrong with them."""
