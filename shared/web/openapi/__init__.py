"""The contract as the gateway publishes it: one description per operation, and the document."""
