"""How fast: time of steps and compilation, rates of data, sizes of exports."""
