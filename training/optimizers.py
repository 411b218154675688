"""Muon for the encoder's matrices, AdamW for everything else.

Muon: Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/); its rate is scaled to AdamW's, so that both share
one (Liu et al. 2025, arXiv:2502.16982).
"""

from typing import Any

from torch import nn, optim


class Optimizers:
    """The two, as one."""

    def __init__(self, encoder_blocks: nn.Module, everything: nn.Module) -> None:
        matrices = {parameter for parameter in encoder_blocks.parameters() if parameter.ndim == 2}
        others = [parameter for parameter in everything.parameters() if parameter not in matrices]
        inner = [parameter for parameter in encoder_blocks.parameters() if parameter in matrices]
        self._all = (
            optim.Muon(inner, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
            optim.AdamW(others, betas=(0.9, 0.98), weight_decay=1e-3),
        )

    def step(self, rate: float) -> None:
        """One step along the gradients, which are then gone."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """What `load_state_dict` takes."""
        return [optimizer.state_dict() for optimizer in self._all]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Go on as another left off."""
        for optimizer, state in zip(self._all, states, strict=True):
            optimizer.load_state_dict(state)
