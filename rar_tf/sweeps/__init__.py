"""Settings times settings: what is trained, what is evaluated, and one table of it all."""
