"""The machine this runs on, through psutil."""
