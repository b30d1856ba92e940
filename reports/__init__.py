"""Reports of a run folder: PDF, web page, Markdown, JSON; and the check that a PDF says what its run says.

`content` turns a run into a `model.Report`, `pdf`, `html`, `markdown` and `data` print that one document,
`verify` reads a printed one back. Reads `audit.evidence` only and never imports torch.
"""
