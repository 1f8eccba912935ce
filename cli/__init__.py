"""The command line: administration, a client, the demo. Not deployed."""
