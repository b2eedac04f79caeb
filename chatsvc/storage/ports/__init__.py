"""The ports of the store: messages kept for good, and found again.

An adapter implements all of them (:class:`~chatsvc.storage.ports.message_store.MessageStore`);
a consumer names those that it uses. Every method of theirs may raise
:class:`~chatsvc.core.errors.StoreUnavailable`, a failure that may pass. No vendor's error type
leaves an adapter. ``tests/contract/`` holds each adapter to what the ports promise, over a real
connection.
"""
