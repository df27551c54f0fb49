"""Experiment trackers: Aim, TensorBoard, Weights & Biases, trackio. A run's own events are written whatever is chosen here."""
