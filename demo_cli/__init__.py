"""An interactive terminal client, and a scriptable one, for a chatsvc server."""
