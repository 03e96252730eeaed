"""The command: configuration, processes, demo. Composes proxy, policies, ledger and web; nothing imports it."""
