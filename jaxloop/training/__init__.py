"""The order of effects: create a run, train it, resume it, replay a member."""
