"""Sweeps and ablations of cross-modal video-to-IMU distillation, on Ray."""
