"""What a run needs of TPUs, from programs compiled on a machine that has none."""
