"""Sound as it is spoken: where samples come from, what is heard in them, and recordings of people who agreed to it."""
