"""One page about runs: a single HTML file that draws itself without a network."""
