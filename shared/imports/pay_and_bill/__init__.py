"""What workers and assignments share: the contract Pay & Bill (docs/contracts.md#1)."""
