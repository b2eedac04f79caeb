"""The wire formats that server and client share. No I/O."""
