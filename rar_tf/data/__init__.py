"""Data sets; stub until the data wing lands."""
