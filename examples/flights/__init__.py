"""Flights: the demo. Real departures of 2013 are asked for, one model is promoted and a worse one taken back."""
