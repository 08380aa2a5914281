"""Configurations of models whose blocks differ, for transformers 4.45 and later, 5 included.

Written by Puzzleflow; no part of it depends on a release of transformers.
"""
from transformers import PretrainedConfig


class _Attributes(dict):
    """A dict whose items are attributes, as readers access block_configs; survives JSON and copies."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


class DeciLMConfig(PretrainedConfig):
    """Children of Llama, which vLLM and others know by this model_type."""

    model_type = "nemotron-nas"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, block_configs=None, max_position_embeddings=2048, rope_theta=10000.0,
                 rope_scaling=None, rope_parameters=None, pad_token_id=None, **kwargs):
        # Before super().__init__(), in which transformers 5 makes rope_parameters uniform and checks
        # them against sizes.
        for name in ("hidden_size", "num_attention_heads", "head_dim"):
            setattr(self, name, kwargs.get(name))
        self.max_position_embeddings = max_position_embeddings
        self.rope_theta = rope_theta
        rope = dict(rope_parameters or rope_scaling or {})
        rope.setdefault("rope_type", rope.get("type", "default"))
        rope.setdefault("rope_theta", rope_theta)
        self.rope_parameters = rope
        if not hasattr(PretrainedConfig, "rope_scaling"):  # transformers 4, where it is no alias
            self.rope_scaling = rope_scaling
        # Later releases want it there before, earlier ones overwrite it.
        self.pad_token_id = pad_token_id
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.block_configs = [
            _Attributes({part: _Attributes(fields) for part, fields in block.items()})
            for block in block_configs or []
        ]


class PuzzleConfig(DeciLMConfig):
    """Children of other families; no class of transformers takes this model_type for its own."""

    model_type = "puzzle"

    def __init__(self, **kwargs):  # transformers 5 makes one of its own where a class has none
        super().__init__(**kwargs)
