"""The programs that are measured, those that no command exists for: each reads one file."""
