"""Training: losses, the pure loop and its driver, checkpoints, metrics."""
