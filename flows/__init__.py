"""WHAT HAPPENS: time, order, judgement. Imports services and registry."""
