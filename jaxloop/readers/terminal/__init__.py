"""What a person sees in a terminal or a notebook: a live panel, tables, a ledger in words."""
