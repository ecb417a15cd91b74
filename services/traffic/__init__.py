"""What splits requests between builds: the route table, and the data planes that carry it out."""
