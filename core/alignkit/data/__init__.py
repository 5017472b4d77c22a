"""Reading examples from files and the hub, checking them, and turning them into tokens and rows."""
