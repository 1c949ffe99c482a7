"""Throughput of training, inference and input, beside the PyTorch version's."""
