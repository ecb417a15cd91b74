"""The rendering of reports for all services: the HTML page, its charts, and Markdown."""
