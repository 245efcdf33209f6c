"""Steps of a run on disk: saved, sealed, restored, and set aside if damaged."""
