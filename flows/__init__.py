"""WHAT HAPPENS: time, order, judgement; imports services and registry."""
