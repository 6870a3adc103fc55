"""Language model: tokenizer, token files, model, training, evaluation, generation, export. Imports no Dagster."""
