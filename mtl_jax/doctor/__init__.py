"""What an installation has, and what to do about what it lacks."""
