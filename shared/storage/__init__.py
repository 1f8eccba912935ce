"""Tables, queues and blobs: the only room that knows the Azure storage SDKs."""
