"""How a report looks: one HTML page, its charts, and Markdown. Every service may use it."""
