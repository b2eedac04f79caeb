"""The features of the service, one package each; none imports another."""
