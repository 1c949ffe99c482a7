"""What every other folder stands on: names, geometry, records, configuration."""
