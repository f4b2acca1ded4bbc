"""Training and evaluation of the colorizer: `python -m training`."""
