"""What crosses the network, shared by server and client. No I/O."""
