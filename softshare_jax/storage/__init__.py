"""Steps of a run on disk: written whole, sealed, read back or set aside."""
