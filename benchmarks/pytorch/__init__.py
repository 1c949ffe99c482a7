"""The paper's networks, losses and training step in PyTorch, to be compared with."""
