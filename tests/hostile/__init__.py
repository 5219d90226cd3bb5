"""Inputs that somebody made to read, send, write, hang or lie; each in a process with limits."""
