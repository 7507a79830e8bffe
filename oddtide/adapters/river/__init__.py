"""river: its streaming anomaly models by name, its ADWIN as drift monitor, the data sets that come with it."""
