"""Reports on runs and on this machine."""
