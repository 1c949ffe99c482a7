"""Throughput of training, inference and input, compared with the PyTorch version."""
