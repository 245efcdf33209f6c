"""Networks of searched cells: the cells are data, and one definition builds all networks."""
