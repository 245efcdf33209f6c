"""Training: pure steps, and the tasks, optimizers and compiled programs around them."""
