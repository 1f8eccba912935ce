"""Files of rows: CSV, NDJSON, spreadsheets and compressed bodies, read as rows of any type."""
