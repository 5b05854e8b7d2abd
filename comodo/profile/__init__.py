"""What teacher and student take on a device."""
