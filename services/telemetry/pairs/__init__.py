"""Two answers to one request, stable's and the shadow's: found, compared, added up."""
