"""The corpus: from dumps and archives to segmented sentences. Imports neither Dagster nor torch."""
