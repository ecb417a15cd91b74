"""WHAT ANSWERS: long-lived processes and what they speak; imports registry."""
