"""From rows to learn from: labels from facts, honest splits, an audit, a report."""
