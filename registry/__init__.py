"""WHAT IS TRUE: the words, the rules, the record; imports no other room."""
