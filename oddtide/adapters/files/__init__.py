"""Files: tables of readings to read."""
