"""The config: its fields, their defaults and bounds, and the recipes built on them."""
