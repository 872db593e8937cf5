"""Every table and figure of the papers, as an index of networks and commands, and what they measured."""
