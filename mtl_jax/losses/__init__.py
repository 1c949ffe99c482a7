"""Losses by task, and the weights between them; pure functions of arrays."""
