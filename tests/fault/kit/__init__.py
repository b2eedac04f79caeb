"""Proxy, recorder, checker, service and workloads: the tools of the fault tests.

Nothing in here imports ``chatsvc``: the proof does not lean on what it proves.
"""
