"""The backlog: connections that wait to be taken, at the relay's sockets and at any other of the program's."""

BACKLOG = 511
"""Connections that wait to be taken."""
ONE_AT_A_TIME = 1
"""As asyncio's backlog, which is also how many connections a worker takes without looking up: with more, the first one
to see a burst takes all of it, and the others have nothing to do. The sockets get their own backlog afterwards."""
