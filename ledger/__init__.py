"""What is remembered: consent events, decisions and hits; keys and tokens."""
