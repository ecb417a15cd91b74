"""Flights, the demo: real departures of 2013 are asked for, one model is promoted and a worse one taken back."""
