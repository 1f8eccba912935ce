"""Tables, queues and blobs. Only this package imports the Azure storage SDKs."""
