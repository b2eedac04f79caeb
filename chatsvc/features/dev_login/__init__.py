"""Tokens for whoever asks: for development alone."""
