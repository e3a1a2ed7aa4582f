"""From symbols to numbers: the only place that knows both sides."""
