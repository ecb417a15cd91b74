"""Flights, the demo: replays real departures of 2013 as requests; one model is promoted, a worse one is taken back."""
