"""Files: tables of readings to read, trained models to keep."""
