"""WHAT IS TRUE: the words, the rules, the record. Imports no other room."""
