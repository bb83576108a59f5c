"""PromQL that several dashboards say in the same words."""

# What the gateway counts of a model; what an engine does. `$model` and `$engine` are regular expressions. In
# what engines export, `engine` is Prometheus' label of the target: the name that the gateway calls it by.
OF_MODEL = 'model=~"$model"'
OF_ENGINE = 'engine=~"$engine"'
IN_ENGINE = 'model_name=~"$model",engine=~"$engine"'


def rate(counter: str, by: str = "", selector: str = "") -> str:
    """Per second, summed up over gateways or engines; `by`: labels that are kept."""
    return f"sum{_by(by)} (rate({counter}{{{selector}}}[$__rate_interval]))"


def quantile(share: float, histogram: str, by: str = "", selector: str = "") -> str:
    """The value that `share` of all observations of the last while stay below."""
    labels = f"le,{by}" if by else "le"
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', labels, selector)})"


def mean(histogram: str, by: str = "", selector: str = "") -> str:
    return f"{rate(f'{histogram}_sum', by, selector)} / {rate(f'{histogram}_count', by, selector)}"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
