"""What an evaluation measures, how it is made, what is left of it, and pages about several."""
