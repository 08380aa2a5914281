"""Models whose blocks differ, for transformers 4.45 and later, 5 included.

Written by Puzzleflow. Every block is x += attention(norm(x)); x += ffn(norm(x)), where either may be
absent or one matrix. What sub-blocks are made of is in the config's `architecture`, whose absent
fields are Llama's; `rotary` has the frequencies that its rope scaling comes to.
"""
import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_decilm import DeciLMConfig, PuzzleConfig

ACTIVATIONS = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}
# What models and generate() call the cache.
CACHE = "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"


def architecture(config):
    """What the config says, with Llama's for what it does not."""
    usual = {
        "norm": "rms", "norm_eps": getattr(config, "rms_norm_eps", None), "norms_add_one": False,
        "post_norms": False, "positions": "rotary", "position_offset": 0, "gated_ffn": True,
        "qkv_bias": getattr(config, "attention_bias", False),
        "o_bias": getattr(config, "attention_bias", False),
        "ffn_bias": getattr(config, "mlp_bias", False), "qk_norm": False,
        "score_scale": config.head_dim ** -0.5, "attention_cap": 0.0, "logit_cap": 0.0,
        "embedding_scale": 1.0,
    }
    return usual | dict(getattr(config, "architecture", None) or {})


class RmsNorm(nn.Module):
    def __init__(self, size, arch):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps, self.adds_one = arch["norm_eps"], arch["norms_add_one"]

    def forward(self, x):
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        if self.adds_one:
            return (wide * (1 + self.weight.float())).to(x.dtype)
        return self.weight * wide.to(x.dtype)


def make_norm(size, arch):
    if arch["norm"] == "layer":
        return nn.LayerNorm(size, eps=arch["norm_eps"])
    return RmsNorm(size, arch)


def rotate(x, rotary):
    """x: [batch, heads, positions, head_dim], of which the first dimensions are rotated."""
    cos, sin = (part.to(x.dtype).unsqueeze(1) for part in rotary)
    turned, rest = x[..., : cos.shape[-1]], x[..., cos.shape[-1]:]
    low, high = turned.chunk(2, dim=-1)
    return torch.cat([turned * cos + torch.cat([-high, low], -1) * sin, rest], -1)


class Attention(nn.Module):
    def __init__(self, config, arch, spec, cache_index):
        super().__init__()
        self.head_dim, self.cache_index = config.head_dim, cache_index
        self.window = spec.get("window_length") or 0
        self.scale, self.cap = arch["score_scale"], arch["attention_cap"]
        heads = config.num_attention_heads
        kv_heads = spec.get("num_key_value_heads") or heads // spec.n_heads_in_group
        self.groups = heads // kv_heads
        size, width, kv_width = config.hidden_size, heads * self.head_dim, kv_heads * self.head_dim
        self.q_proj = nn.Linear(size, width, bias=arch["qkv_bias"])
        self.k_proj = nn.Linear(size, kv_width, bias=arch["qkv_bias"])
        self.v_proj = nn.Linear(size, kv_width, bias=arch["qkv_bias"])
        self.o_proj = nn.Linear(width, size, bias=arch["o_bias"])
        self.q_norm = RmsNorm(self.head_dim, arch) if arch["qk_norm"] else nn.Identity()
        self.k_norm = RmsNorm(self.head_dim, arch) if arch["qk_norm"] else nn.Identity()
        if arch["post_norms"]:
            self.post_norm = make_norm(size, arch)

    def forward(self, x, rotaries, masks, cache):
        rotary = rotaries[self.window > 0]
        heads = (*x.shape[:-1], -1, self.head_dim)
        q = self.q_norm(self.q_proj(x).view(heads)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(heads)).transpose(1, 2)
        v = self.v_proj(x).view(heads).transpose(1, 2)
        if rotary is not None:
            q, k = rotate(q, rotary), rotate(k, rotary)
        if cache is not None:
            k, v = cache.update(k, v, self.cache_index)
        k, v = k.repeat_interleave(self.groups, 1), v.repeat_interleave(self.groups, 1)
        mask = masks(self.window, k.shape[2])
        if self.cap or not hasattr(F, "scaled_dot_product_attention"):  # as in torch 1
            scores = q @ k.transpose(-1, -2) * self.scale
            if self.cap:
                scores = self.cap * torch.tanh(scores / self.cap)
            scores = scores.float().masked_fill(~mask, -math.inf)
            out = scores.softmax(-1).to(v.dtype) @ v
        else:  # it knows the usual scale only in the first releases of torch 2
            q = q * (self.scale * math.sqrt(self.head_dim))
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out = self.o_proj(out.transpose(1, 2).flatten(2))
        return self.post_norm(out) if hasattr(self, "post_norm") else out


class Ffn(nn.Module):
    def __init__(self, config, arch, spec):
        super().__init__()
        size = config.hidden_size
        width = spec.get("intermediate_size")
        if width is None:
            width = (int(2 * spec.ffn_mult * size / 3) + 255) // 256 * 256
        self.activation = ACTIVATIONS[config.hidden_act]
        if arch["gated_ffn"]:
            self.gate_proj = nn.Linear(size, width, bias=arch["ffn_bias"])
        self.up_proj = nn.Linear(size, width, bias=arch["ffn_bias"])
        self.down_proj = nn.Linear(width, size, bias=arch["ffn_bias"])
        if arch["post_norms"]:
            self.post_norm = make_norm(size, arch)

    def forward(self, x):
        if hasattr(self, "gate_proj"):
            out = self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))
        else:
            out = self.down_proj(self.activation(self.up_proj(x)))
        return self.post_norm(out) if hasattr(self, "post_norm") else out


class LinearSubBlock(nn.Module):
    """One matrix in the place of a sub-block, under the name that it has in files."""

    def __init__(self, name, size, bias):
        super().__init__()
        self.add_module(name, nn.Linear(size, size, bias=bias))

    def forward(self, x):
        return next(self.children())(x)


class Block(nn.Module):
    def __init__(self, config, arch, spec, cache_index):
        super().__init__()
        size, attention, ffn = config.hidden_size, spec.attention, spec.ffn
        self.has_attention = not (attention.no_op or attention.replace_with_linear)
        self.self_attn = self.mlp = None
        if self.has_attention:
            self.self_attn = Attention(config, arch, attention, cache_index)
        elif attention.replace_with_linear:
            bias = arch["qkv_bias"] or arch["o_bias"]
            self.self_attn = LinearSubBlock("linear_attn", size, bias)
        if ffn.replace_with_linear:
            self.mlp = LinearSubBlock("linear_mlp", size, arch["ffn_bias"])
        elif not ffn.no_op:
            self.mlp = Ffn(config, arch, ffn)
        if self.self_attn is not None:
            self.input_layernorm = make_norm(size, arch)
        if self.mlp is not None:
            self.post_attention_layernorm = make_norm(size, arch)

    def forward(self, x, *surroundings):
        if self.self_attn is not None:
            normed = self.input_layernorm(x)
            x = x + (self.self_attn(normed, *surroundings) if self.has_attention
                     else self.self_attn(normed))
        if self.mlp is not None:
            x = x + self.mlp(self.post_attention_layernorm(x))
        return x


class Body(nn.Module):
    def __init__(self, config, arch):
        super().__init__()
        size = config.hidden_size
        self.embed_tokens = nn.Embedding(config.vocab_size, size)
        if arch["positions"] == "learned":
            rows = config.max_position_embeddings + arch["position_offset"]
            self.embed_positions = nn.Embedding(rows, size)
        # Caches say how long a text is by their first entry, so that one has to be attention.
        blocks, attentions = [], 0
        for spec in config.block_configs:
            blocks.append(Block(config, arch, spec, attentions))
            attentions += blocks[-1].has_attention
        self.layers = nn.ModuleList(blocks)
        self.norm = make_norm(size, arch)


class Masks:
    """Who sees whom, by window; what is there for all layers is made once."""

    def __init__(self, attention_mask, past, queries, device):
        self.queries = torch.arange(past, past + queries, device=device)[:, None]
        self.attention_mask = attention_mask
        self.made = {}

    def __call__(self, window, keys):
        if (window, keys) not in self.made:
            end = int(self.queries[-1]) + 1
            at = torch.arange(end - keys, end, device=self.queries.device)[None]
            mask = at <= self.queries
            if window:
                mask = mask & (at > self.queries - window)
            mask = mask[None, None]
            if self.attention_mask is not None:
                real = self.attention_mask[:, None, None, end - keys:end].to(mask.device).bool()
                mask = mask & real | (at == self.queries)  # padding sees itself, not nothing
            self.made[window, keys] = mask
        return self.made[window, keys]


class PuzzleForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = PuzzleConfig
    base_model_prefix = "model"
    _no_split_modules = ["Block"]
    _supports_cache_class = True
    _supports_sdpa = True

    def __init__(self, config):
        super().__init__(config)
        self.arch = architecture(config)
        self.model = Body(config, self.arch)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=getattr(self.config, "initializer_range", 0.02))
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return getattr(self, "lm_head", None)

    def set_output_embeddings(self, value):
        self.lm_head = value

    def _rotaries(self, positions, length):
        """(cos, sin) of layers without a window and of those with one; [batch, positions, dims]."""
        if self.arch["positions"] != "rotary":
            return None, None
        said = self.config.rotary
        is_long = said.get("long_from") is not None and length > said["long_from"]
        usual = said["long_inverse_frequencies" if is_long else "inverse_frequencies"]

        def table(frequencies, factor):
            frequencies = torch.tensor(frequencies, dtype=torch.float32, device=positions.device)
            angles = positions[..., None].float() * frequencies
            angles = torch.cat([angles, angles], -1)
            return angles.cos() * factor, angles.sin() * factor

        everywhere = table(usual, said["attention_factor"])
        windowed = said.get("window_inverse_frequencies")
        return everywhere, everywhere if windowed is None else table(windowed, 1.0)

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                cache=None, inputs_embeds=None, labels=None, use_cache=None,
                output_hidden_states=None, return_dict=None, logits_to_keep=0, **kwargs):
        x = inputs_embeds if inputs_embeds is not None else self.model.embed_tokens(input_ids)
        x = x * self.arch["embedding_scale"]
        if use_cache is None:
            use_cache = getattr(self.config, "use_cache", True) and not self.training
        cache = past_key_values if cache is None else cache
        if use_cache and cache is None:
            cache = DynamicCache()
        past = 0 if cache is None else int(cache.get_seq_length())
        length = past + x.shape[1]
        if position_ids is None and attention_mask is not None:
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, past:length]
        elif position_ids is None:
            position_ids = torch.arange(past, length, device=x.device)[None]
        if self.arch["positions"] == "learned":
            x = x + self.model.embed_positions(position_ids + self.arch["position_offset"])
        surroundings = (self._rotaries(position_ids, length),
                        Masks(attention_mask, past, x.shape[1], x.device), cache)
        states = [x]
        for block in self.model.layers:
            x = block(x, *surroundings)
            states.append(x)
        x = self.model.norm(x)
        states[-1] = x
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        head = getattr(self, "lm_head", self.model.embed_tokens).weight
        logits = F.linear(x[:, keep], head)
        if self.arch["logit_cap"]:
            logits = self.arch["logit_cap"] * torch.tanh(logits / self.arch["logit_cap"])
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].float().flatten(0, 1),
                                   labels[:, 1:].to(logits.device).flatten())
        out = CausalLMOutputWithPast(
            loss=loss, logits=logits, hidden_states=tuple(states) if output_hidden_states else None,
            **{CACHE: cache if use_cache else None})
        return out.to_tuple() if return_dict is False else out

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, cache=None,
                                      attention_mask=None, inputs_embeds=None, use_cache=None,
                                      **kwargs):
        cache = past_key_values if cache is None else cache
        past = 0 if cache is None else int(cache.get_seq_length())
        if inputs_embeds is not None and past == 0:
            what = {"inputs_embeds": inputs_embeds}
        else:
            what = {"input_ids": input_ids[:, min(past, input_ids.shape[1] - 1):].contiguous()}
        return what | {"attention_mask": attention_mask, CACHE: cache, "use_cache": use_cache}


class DeciLMForCausalLM(PuzzleForCausalLM):
    config_class = DeciLMConfig
