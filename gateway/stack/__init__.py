"""A gateway and what watches it, as processes of one machine that end with the one that started them."""
