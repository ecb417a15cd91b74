"""The pages: what is happening, why, and what can be done; rendered here, no build step, nothing from outside."""
