"""The service, its command line, and what a robot talks to."""
