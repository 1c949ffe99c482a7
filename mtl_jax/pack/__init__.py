"""From a trained run to a network that is passed on with the package."""
