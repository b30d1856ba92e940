"""Plain elicitation: other prompts and other decoding of the tuned model, scored as the suite itself is."""
