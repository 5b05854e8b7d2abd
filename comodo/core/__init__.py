"""Files, processes and text: what every other package needs and no word of the domain."""
