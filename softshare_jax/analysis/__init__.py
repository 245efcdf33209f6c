"""What the commands do with trained runs and named networks."""
