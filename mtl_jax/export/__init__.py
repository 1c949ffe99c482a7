"""What leaves: predictions in formats of others."""
