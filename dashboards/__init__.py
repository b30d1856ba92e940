"""Streamlit exploration of run folders: `audit dashboard RUN [RUN ...]`.

Reads `audit.evidence` only, never imports torch, and writes nothing but the findings log of a run.
`launch` starts it, `app` lists the pages, `store` reads a run, `charts` draw, `pages` put them together.
"""
