"""Read records of every kind, as a resume replays them."""
