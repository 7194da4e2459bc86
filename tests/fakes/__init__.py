"""Fake servers: they speak a remote's protocol on 127.0.0.1 and refuse what the remote refuses."""
