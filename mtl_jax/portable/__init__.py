"""A trained network as a program that runs without this package."""
