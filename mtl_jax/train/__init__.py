"""Training: a pure step, the devices it runs on, checkpoints, writers, the loop."""
