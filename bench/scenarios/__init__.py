"""The scenarios, one module each; a scenario adds its figures to those of the run."""
