"""The Dagster assets: which stage reads what. No text or tensor work lives here."""
