"""Networks of searched cells: what was found is data, and one definition builds them all."""
