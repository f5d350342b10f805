"""Messages to rows, rows to files."""
