"""What sharing does: comparisons that train networks, and their figures and tables."""
