"""The demo model while it learns: Qwen3.5 with a throw-away head, and two layers made fast for equal pictures."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo import scenes
from demo.lessons import COLOUR_NAMES, IGNORED, Batch
from quantize.torchvision_on_cpu import allow_torchvision

allow_torchvision()
from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration  # noqa: E402
from transformers.models.qwen3_5.modeling_qwen3_5 import (  # noqa: E402
    Qwen3_5VisionAttention,
    Qwen3_5VisionPatchEmbed,
    apply_rotary_pos_emb_vision,
)

PATCH_FACTS = 1 + len(COLOUR_NAMES) + len(scenes.SHAPES)


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
    """The model being trained and the throw-away head that reads facts off single patches."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.model = Qwen3_5ForConditionalGeneration(Qwen3_5Config(**config))
        self.patch_head = nn.Linear(config["vision_config"]["hidden_size"], PATCH_FACTS)
        self.model.model.visual.patch_embed.__class__ = FlatPatchEmbed
        for block in self.model.model.visual.blocks:
            block.attn.__class__ = OneSizeAttention

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(loss of the patch facts, loss of the answers), float32 scalars."""
        rows, columns = batch.grid
        pictures = len(batch.pixels) // (rows * columns)
        grids = torch.tensor([[1, rows, columns]]).expand(pictures, 3)
        seen = self.model.model.visual(batch.pixels, grid_thw=grids)
        facts = facts_loss(self.patch_head(seen.last_hidden_state).float(), batch.facts)
        if not len(batch.tokens):
            return facts, torch.zeros(())
        hidden = self._hidden(batch, seen.pooler_output, pictures)
        taught = batch.labels[:, 1:] != IGNORED
        logits = self.model.lm_head(hidden[:, :-1][taught])
        return facts, F.cross_entropy(logits.float(), batch.labels[:, 1:][taught])

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


def facts_loss(said: Tensor, facts: Tensor) -> Tensor:
    """`said` float32 [patches, 14]; `facts` int64 [patches, 3]."""
    here, colour, shape = said.split([1, len(COLOUR_NAMES), len(scenes.SHAPES)], dim=-1)
    presence = F.binary_cross_entropy_with_logits(here[:, 0], facts[:, 0].float())
    return (
        4 * presence
        + F.cross_entropy(colour, facts[:, 1], ignore_index=IGNORED)
        + F.cross_entropy(shape, facts[:, 2], ignore_index=IGNORED)
    )
