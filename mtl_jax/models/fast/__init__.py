"""Forms of the networks' operations for speed, equal to the plain ones to rounding."""
