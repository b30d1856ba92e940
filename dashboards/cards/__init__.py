"""Parts of the feature card, one file per group of parts; each part draws itself from a run's store."""
