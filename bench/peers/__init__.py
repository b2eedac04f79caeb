"""Simpler servers, measured beside chatsvc: they broadcast from memory, without login.

All have the same interface: ``GET /ws`` takes a WebSocket, ``POST /publish`` sends its body as one
text frame to each of them and answers 201 with the same body, ``GET /page?bytes=N``
answers N bytes. None has a token, a log, a store or a resume. ``PORT`` says where.
"""
