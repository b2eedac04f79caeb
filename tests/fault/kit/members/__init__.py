"""The model of groups, rows of state and projections, under what befalls log and stores."""
