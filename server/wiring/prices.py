"""What pictures cost, out of the settings: each served model's own rule."""

import logging

from server.admission.price import PriceList
from server.images.token_rules.choose import read_rule
from server.images.token_rules.qwen import QwenTokenRule
from server.setting_sections.admission import AdmissionSettings
from server.token_rule import TokenRule

log = logging.getLogger("fovea")


def make_prices(admission: AdmissionSettings) -> PriceList:
    """Raises ConfigError where a checkpoint's files cannot be read."""
    default = None
    if admission.preprocessor is not None:
        default = read_rule(admission.preprocessor)
        if default is None:
            log.warning(
                "admission.preprocessor: image tokens of this family are not known, its images cost nothing"
            )
    rules: dict[str, TokenRule] = {}
    for model, path in admission.preprocessors.items():
        rule = read_rule(path)
        if rule is not None:
            rules[model] = rule
        else:
            log.warning("the image tokens of %s's family are not known: its images cost nothing", model)
    return PriceList(default, rules)


def pixel_rule(prices: PriceList) -> QwenTokenRule | None:
    """The one by whose size every picture may be brought down: none where models differ."""
    rules = {*prices.rules.values()} | ({prices.default} if prices.default else set())
    only = rules.pop() if len(rules) == 1 else None
    return only if isinstance(only, QwenTokenRule) else None
