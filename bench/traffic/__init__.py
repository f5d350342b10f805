"""The traffic of the generated capture, a module for each kind of frame."""
