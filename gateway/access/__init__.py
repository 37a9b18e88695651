"""Who may ask for what, and how often: API keys, roles and their routes, rates."""
