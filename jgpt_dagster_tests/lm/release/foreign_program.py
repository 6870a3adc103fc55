"""What a program does with a release that has transformers and torch, and nothing of this package.

`python foreign_program.py RELEASE PROMPTS.json`: prompts are a list of strings. Prints, as JSON, ids, texts and what
else a harness or a person who tunes the model asks for.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

directory, prompts = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
if find_spec("jgpt_dagster"):
    sys.exit("this environment has the package, so it shows nothing")
transformers.logging.set_verbosity_error()
tokenizer: Any = AutoTokenizer.from_pretrained(directory)
model: Any = AutoModelForCausalLM.from_pretrained(directory)
generate: Any = pipeline("text-generation", model=directory)
greedy: dict[str, Any] = {"do_sample": False, "max_new_tokens": 8}
batch = tokenizer(prompts, padding=True, return_tensors="pt")
with torch.no_grad():
    padded = model.generate(**batch, **greedy)
long_prompt = "".join(prompts) * model.config.n_positions
print(
    json.dumps(
        {
            "transformers": transformers.__version__,
            "ids": [tokenizer(prompt)["input_ids"] for prompt in prompts],
            "texts": [generate(prompt, **greedy)[0]["generated_text"] for prompt in prompts],
            "batched": [found[0]["generated_text"] for found in generate(prompts, batch_size=len(prompts), **greedy)],
            "padded": tokenizer.batch_decode(padded, skip_special_tokens=True),
            "by_default": generate(prompts[0])[0]["generated_text"],
            "cut": generate(long_prompt, handle_long_generation="hole", **greedy)[0]["generated_text"] != long_prompt,
            "begun": tokenizer(tokenizer.bos_token + prompts[0], add_special_tokens=False)["input_ids"],
            "tokens": [tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token, tokenizer.pad_token],
            "inputs": sorted(tokenizer(prompts[0])),
            "context": [tokenizer.model_max_length, model.config.n_positions],
        }
    )
)
