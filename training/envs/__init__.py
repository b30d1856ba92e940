"""Small worlds in which everything is known: rewards, divergences and what early tokens do to late ones."""
