"""Where a switch is and what undoes it: units of a model, attributions, interventions, controls."""
