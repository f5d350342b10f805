"""Traffic to try the pipeline with: senders, listeners and hand-made frames."""
