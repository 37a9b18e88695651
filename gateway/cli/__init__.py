"""The `evenvoice` command line."""
