"""A run's folder: every file in it, and how it is read and written."""
