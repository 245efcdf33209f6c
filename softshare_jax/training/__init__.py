"""Training: pure steps, and the loop, checkpoints and records around them."""
