"""Grafana dashboards, built in Python and written as the JSON that Grafana reads."""
