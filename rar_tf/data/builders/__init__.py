"""Data sets from official archives, one file each: what reads the archives, and where they come from."""
