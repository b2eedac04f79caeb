"""chatsvc: a self-hosted chat backend for applications that already have users."""

__version__ = "0.1.0"
