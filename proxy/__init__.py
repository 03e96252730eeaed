"""SMTP in, the message, SMTP out: what happens to mail on its way through."""
