"""The pages: what is happening, why, and what can be done. Rendered here, no build step, nothing from outside."""
