"""The paper's networks, losses and training step in PyTorch, for comparison."""
