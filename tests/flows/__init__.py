"""Flows: what they are made of, when they end, and what is known of them."""
