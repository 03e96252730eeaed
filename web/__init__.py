"""The web application: pixels, links, refusals, preference pages and the sender's own mail."""
