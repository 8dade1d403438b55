"""Makes a model that vLLM can serve on any machine: `python vllm_model.py WEIGHTS.gguf FOLDER`, in vLLM's own environment.

Two layers with random weights (`--load-format dummy`), and SmolLM2's tokenizer out of its GGUF file: what it writes makes no
sense, and is counted as any model's is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from transformers import AutoTokenizer

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "vocab_size": 49152,
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "tie_word_embeddings": True, "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

weights, folder = Path(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
tokenizer = AutoTokenizer.from_pretrained(str(weights.parent), gguf_file=weights.name)
tokenizer.chat_template = TEMPLATE
tokenizer.save_pretrained(str(folder))
(folder / "config.json").write_text(json.dumps(CONFIG))
