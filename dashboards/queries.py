"""PromQL in pieces, for a dashboard with certain variables: a selector gets those whose label its metric has."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.control.metrics.exposition import PREFIX
from proxy.control.metrics.table import BY_NAME

SCRAPED = 'job=~"$job", instance=~"$instance"'


def labels(metric: str) -> tuple[str, ...]:
    """The labels of a series by its name without the prefix: `cost_usd_total`, `request_cost_usd_bucket`."""
    for suffix in ("", "_bucket", "_sum", "_count"):
        known = BY_NAME.get(metric.removesuffix(suffix)) if metric.endswith(suffix) else None
        if known is not None:
            return known.labels
    raise KeyError(metric)


def total(expression: str, by: str = "") -> str:
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"


@dataclass(frozen=True, slots=True)
class Queries:
    """variables: the labels that the dashboard can be narrowed by, besides job and instance."""

    variables: tuple[str, ...] = ()

    def select(self, metric: str, matchers: str = "") -> str:
        """The series of a metric that the dashboard's variables leave."""
        wanted = [SCRAPED, *(f'{name}=~"${name}"' for name in self.variables if name in labels(metric))]
        return f"{PREFIX}{metric}{{{', '.join([*wanted, matchers] if matchers else wanted)}}}"

    def recorded(self, rule: str) -> str:
        """A series that a recording rule makes. It is over all instances of a job; its name begins with its labels."""
        made = rule.partition(":")[0].split("_")
        wanted = ['job=~"$job"', *(f'{name}=~"${name}"' for name in self.variables if name in made)]
        return f"{rule}{{{', '.join(wanted)}}}"

    def rate(self, metric: str, by: str = "", matchers: str = "") -> str:
        """Per second."""
        return total(f"rate({self.select(metric, matchers)}[$__rate_interval])", by)

    def gained(self, metric: str, by: str = "", matchers: str = "") -> str:
        """By how much a counter rose in the dashboard's range, to the last digit: our counters survive restarts, so a
        difference will do, and unlike `increase` it neither extrapolates nor loses the first value of a new series.

        Where Prometheus itself was not there when the range began, a series' first value is what is taken off.
        """
        series = self.select(metric, matchers)
        was_there = f"{PREFIX}build_info{{{SCRAPED}}} offset $__range"
        before = (
            f"{series} offset $__range or last_over_time({series}[$__range]) * 0 and on (job, instance) {was_there} "
            f"or min_over_time({series}[$__range])"
        )
        return total(f"last_over_time({series}[$__range]) - ({before})", by)

    def quantile(self, share: float, histogram: str, by: str = "") -> str:
        """Of what was observed around each moment."""
        return f"histogram_quantile({share:g}, {self.rate(histogram + '_bucket', _with_le(by))})"

    def quantile_in_range(self, share: float, histogram: str, by: str = "") -> str:
        """Of what was observed in the dashboard's range."""
        return f"histogram_quantile({share:g}, {self.gained(histogram + '_bucket', _with_le(by))})"


def _with_le(by: str) -> str:
    return f"{by}, le" if by else "le"
