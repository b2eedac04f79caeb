"""The protocol of ``docs/protocol.md`` as checks against any running server.

``chatsvc-conformance URL`` runs them; nothing of the server's code is used, so a server in
another language can be held to the same page. Each check is a small function with a name,
the section of the page and the sentence that it holds.
"""

__version__ = "0.1.0"
