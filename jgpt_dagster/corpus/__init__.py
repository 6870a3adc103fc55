"""Text: from a dump to segmented sentences. Imports neither Dagster nor torch."""
