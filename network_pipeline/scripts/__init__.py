"""The commands: argument parsing only."""
