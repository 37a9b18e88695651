"""What stands between the network and the API: pure ASGI, one file a concern."""
