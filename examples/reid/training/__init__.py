"""Training: the objective, the steps, and everything that lets them go on after an interruption."""
