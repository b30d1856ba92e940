"""The dashboard as files: the very pages, run once without a server, written as HTML that needs none."""
