"""Bidirectional flows from packets: one pass, bounded memory, every packet accounted for."""
