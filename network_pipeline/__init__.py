"""network-pipeline: network traffic as datasets."""

__version__ = "0.1.0"
