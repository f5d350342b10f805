"""Frames to values. Nothing here opens a socket, reads a clock or logs."""
