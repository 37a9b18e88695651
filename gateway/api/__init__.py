"""The HTTP API, version 1: requests in, the gateway's answers out. One module a part of it."""
