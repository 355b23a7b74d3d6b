"""Training: data, objective, loop, export. Needs nothing that coding does not need."""
