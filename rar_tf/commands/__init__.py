"""The commands: each parses its flags, calls the library and says what it wrote."""
