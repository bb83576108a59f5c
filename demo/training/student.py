"""The demo model while it learns: Qwen3.5 with throw-away heads, and two layers made fast for equal pictures."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.training import architecture
from demo.training.facts import FACTS, IGNORED, TOKEN_FACTS, token_facts
from demo.training.lessons import Batch, Looks
from demo.training.looks import Head
from quantize.torchvision_on_cpu import allow_torchvision

allow_torchvision()
from transformers import (  # noqa: E402
    AttentionInterface,
    AttentionMaskInterface,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward  # noqa: E402
from transformers.masking_utils import sdpa_mask  # noqa: E402
from transformers.models.qwen3_5.modeling_qwen3_5 import (  # noqa: E402
    Qwen3_5VisionAttention,
    Qwen3_5VisionPatchEmbed,
    apply_rotary_pos_emb_vision,
)

PATCH_HEAD = sum(FACTS.values()) + 4
# Few patches hold a centre, all know the count; the last digit of a coordinate is mostly a guess.
FACT_WEIGHTS = {"kind": 4.0, "count": 0.5}
TOKEN_FACT_WEIGHTS = {"kind": 3.0, **{name: 0.3 for name in TOKEN_FACTS if name.endswith(("tens", "units"))}}
PLACES = 20  # parts of a side in which the place of a named thing is taught
PLACED = 2  # the layer after which a question's name must know where its thing is
WATCHED = "watched_sdpa"


@dataclass(frozen=True, slots=True)
class Losses:
    """Float32 scalars: what is in the picture, the answers, where the heads look."""

    facts: Tensor
    answers: Tensor
    looks: Tensor

    def total(self) -> Tensor:
        return 0.3 * self.facts + self.answers + 0.3 * self.looks


def watched_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **rest: Any
) -> tuple[Tensor, None]:
    """Torch's attention; leaves the queries and keys (heads first, rotated) with the module, to be taught."""
    module.watched = (query, key)
    return cast(tuple[Tensor, None], sdpa_attention_forward(module, query, key, value, attention_mask, **rest))


AttentionInterface.register(WATCHED, watched_attention)
AttentionMaskInterface.register(WATCHED, sdpa_mask)


class OneSizeAttention(Qwen3_5VisionAttention):
    """Vision attention for a batch of equal pictures: one call where the original makes one a picture."""

    def forward(
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        **_: Any,
    ) -> Tensor:
        assert position_embeddings is not None
        total, pictures = hidden_states.shape[0], len(cu_seqlens) - 1
        q, k, v = self.qkv(hidden_states).reshape(total, 3, self.num_heads, -1).unbind(1)
        q, k = apply_rotary_pos_emb_vision(q, k, *position_embeddings)
        q, k, v = (x.reshape(pictures, -1, self.num_heads, x.shape[-1]).transpose(1, 2) for x in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, scale=self.scaling)
        return cast(Tensor, self.proj(mixed.transpose(1, 2).reshape(total, -1)))


class FlatPatchEmbed(Qwen3_5VisionPatchEmbed):
    """The patch embedding as one matrix product: its strides equal its kernel, and Conv3d is slow on CPUs."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        return F.linear(hidden_states, self.proj.weight.flatten(1), self.proj.bias)


class Student(nn.Module):
    """The model being trained and the throw-away heads that read facts off image tokens and places off names."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.model = Qwen3_5ForConditionalGeneration(Qwen3_5Config(**config))
        width = config["text_config"]["hidden_size"]
        self.patch_head = nn.Linear(width, architecture.MERGE**2 * PATCH_HEAD)
        self.token_head = nn.Linear(width, sum(TOKEN_FACTS.values()))
        self.place_head = nn.Linear(width, 2 * PLACES)
        self.model.model.visual.patch_embed.__class__ = FlatPatchEmbed
        for block in self.model.model.visual.blocks:
            block.attn.__class__ = OneSizeAttention
        language = self.model.model.language_model
        language.config._attn_implementation = WATCHED
        language.layers[PLACED].register_forward_hook(self._keep)
        self._placed = torch.zeros(0)

    def _keep(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self._placed = output

    def forward(self, batch: Batch) -> Losses:
        rows, columns = batch.grid
        pictures = len(batch.pixels) // (rows * columns)
        grids = torch.tensor([[1, rows, columns]]).expand(pictures, 3)
        seen = self.model.model.visual(batch.pixels, grid_thw=grids).pooler_output
        known = token_facts(batch.facts, batch.boxes)
        facts = patch_loss(self.patch_head(seen).view(-1, PATCH_HEAD), batch)
        facts = facts + facts_loss(self.token_head(seen), known, TOKEN_FACTS, TOKEN_FACT_WEIGHTS)
        if not len(batch.tokens):
            return Losses(facts, torch.zeros(()), torch.zeros(()))
        hidden = self._hidden(batch, seen, pictures)
        taught = batch.labels[:, 1:] != IGNORED
        logits = self.model.lm_head(hidden[:, :-1][taught])
        losses = F.cross_entropy(logits.float(), batch.labels[:, 1:][taught], reduction="none")
        weights = batch.weights[:, 1:][taught]
        return Losses(facts, (losses * weights).sum() / weights.sum(), self._looks_loss(batch.looks))

    def _looks_loss(self, looks: dict[Head, Looks]) -> Tensor:
        layers = self.model.model.language_model.layers
        loss = torch.zeros(())
        for head, taught in looks.items():
            if len(taught.rows):
                layer, index = head.value
                query, key = layers[layer].self_attn.watched
                loss = loss + look_loss(query, key, index, taught)
        named = looks[Head.NAMED]
        there = ~named.points[:, 0].isnan()
        if there.any():
            said = self.place_head(self._placed[named.rows[there], named.positions[there]])
            places = (named.points[there].clamp(0, 0.999) * PLACES).long()
            loss = loss + F.cross_entropy(said.view(-1, PLACES), places.view(-1))
        return loss

    def _hidden(self, batch: Batch, embeddings: Tensor, pictures: int) -> Tensor:
        core = self.model.model
        is_image = batch.tokens == self.model.config.image_token_id
        inputs = core.language_model.embed_tokens(batch.tokens)
        inputs = inputs.masked_scatter(is_image[..., None], embeddings.to(inputs.dtype))
        # Every row of a batch has its picture at the same place, so one row's positions serve all.
        positions, _ = core.get_rope_index(
            batch.tokens[:1],
            mm_token_type_ids=is_image[:1].int(),
            image_grid_thw=torch.tensor([[1, *batch.grid]]),
        )
        out = core.language_model(
            inputs_embeds=inputs, position_ids=positions.expand(-1, pictures, -1), use_cache=False
        )
        return cast(Tensor, out.last_hidden_state)


def look_loss(query: Tensor, key: Tensor, head: int, taught: Looks) -> Tensor:
    """Cross-entropy of one head's attention: `query` and `key` float32 [pictures, heads, length, width]."""
    shared = head // (query.shape[1] // key.shape[1])
    asking = query[taught.rows, head, taught.positions]
    logits = torch.einsum("nd,nld->nl", asking, key[:, shared][taught.rows]) * query.shape[-1] ** -0.5
    later = torch.arange(key.shape[2]) > taught.positions[:, None]
    shares = F.log_softmax(logits.masked_fill(later, float("-inf")), dim=-1)
    return -(taught.targets * shares.masked_fill(taught.targets == 0, 0)).sum(dim=-1).mean()


def patch_loss(said: Tensor, batch: Batch) -> Tensor:
    """`said` float32 [patches, sum of FACTS + 4]: logits of each fact, then the box."""
    logits, boxes = said.split([said.shape[1] - 4, 4], dim=-1)
    loss = facts_loss(logits, batch.facts, FACTS, FACT_WEIGHTS)
    here = ~batch.boxes[:, 0].isnan()
    if here.any():
        loss = loss + 10 * F.l1_loss(boxes[here], batch.boxes[here])
    return loss


def facts_loss(said: Tensor, known: Tensor, facts: dict[str, int], weights: dict[str, float]) -> Tensor:
    """`said` float32 [n, sum of `facts`], `known` int64 [n, len(facts)], IGNORED where there is none."""
    loss = torch.zeros(())
    for logits, truth, name in zip(said.split(list(facts.values()), dim=-1), known.unbind(-1), facts, strict=True):
        if (truth != IGNORED).any():
            loss = loss + weights.get(name, 1.0) * F.cross_entropy(logits, truth, ignore_index=IGNORED)
    return loss
