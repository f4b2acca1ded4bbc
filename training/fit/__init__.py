"""Fitting a network to photographs: recipes, losses and runs that can be resumed."""
