"""What a network is worth: figures, tables, pictures, and the calibration that they steer."""
