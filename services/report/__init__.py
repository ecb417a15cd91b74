"""How a report looks in every service: one HTML page, its charts, and Markdown."""
