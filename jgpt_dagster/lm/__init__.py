"""Language model: planning, tokenizer, token files, model, training, evaluation and release. Imports no Dagster."""
