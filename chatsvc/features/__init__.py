"""What the service offers, one room each; none knows another."""
