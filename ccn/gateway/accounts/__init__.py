"""Who calls: accounts, passwords, tokens and API keys, and what each may do."""
