"""CTs that arrive over the network, and their predictions on the way back."""
