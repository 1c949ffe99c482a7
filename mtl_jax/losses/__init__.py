"""Losses of the two tasks and the weights between them; pure functions of arrays."""
